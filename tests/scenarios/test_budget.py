"""A budget stops the calls, not the run's future: what was answered is kept, and a larger budget goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.status import is_over_budget, run_status
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.pipeline import pipeline_from
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

ROWS = 60
POOL = 4
PRICE = {"input": 1000.0, "output": 1000.0}


def project_in(folder: Path) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row {index}"] for index in range(ROWS)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def declared(base_url: str, *, price: dict[str, float] | None = None, **llm: Any) -> dict[str, Any]:
    declaration = mood_pipeline(base_url, pool={"pool_size": POOL}, **llm)
    declaration["models"]["default"]["price"] = price
    return declaration


def status_of(project: Project) -> RunStatus:
    database = Database(project.landscape_url)
    try:
        key = project.query("SELECT run_key FROM runs")[0][0]
        return run_status(database, find_run(database, key).run_id, now=SystemClock().now())
    finally:
        database.dispose()


@pytest.mark.parametrize(
    ("small", "large"),
    [({"budget_tokens": 500}, {"budget_tokens": 10**9}), ({"budget_usd": 0.5}, {"budget_usd": 1e6})],
    ids=["tokens", "usd"],
)
def test_a_spent_budget_stops_the_node_and_a_larger_one_finishes_the_run(
    small: dict[str, float], large: dict[str, float], tmp_path: Path
) -> None:
    project = project_in(tmp_path)
    with FakeModelServer(FakeModelSettings(latency_ms=2)) as server:
        project.declare(declared(server.base_url, price=PRICE, **small))
        first = project.run()
        assert not first.success
        asked = server.stats().requests
        assert POOL < asked < ROWS - POOL
        tokens, usd = project.query(
            "SELECT sum(prompt_tokens + completion_tokens), sum(cost_usd) FROM calls"
        )[0]
        assert tokens >= small.get("budget_tokens", 0)
        assert usd >= small.get("budget_usd", 0)
        assert status_of(project) is RunStatus.INCOMPLETE

        again = project.run(resume=first.run_id)
        assert not again.success
        assert server.stats().requests == asked, "nothing is bought with a budget that is spent"

        project.declare(declared(server.base_url, price=PRICE, **large))
        assert project.run(resume=again.run_id).success
        assert (server.stats().requests, server.stats().repeated) == (ROWS, 0)
    assert status_of(project) is RunStatus.COMPLETED
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]
    assert project.query("SELECT count(*) FROM node_states WHERE status = 'failed'") == [(0,)]


def test_a_budget_that_cannot_be_kept_stops_the_node(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with FakeModelServer(FakeModelSettings(rules=(Rule("row 3", Fault.NO_USAGE),))) as server:
        project.declare(declared(server.base_url, budget_tokens=10**9))
        result = project.run()
        assert server.stats().requests < ROWS

    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "The budget cannot be kept" in str(failure.user_failure_data.description)


def test_a_run_that_failed_otherwise_is_not_over_budget(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with FakeModelServer(FakeModelSettings(always=401)) as server:
        project.declare(declared(server.base_url, budget_tokens=10**9))
        assert not project.run().success
    database = Database(project.landscape_url)
    run_id = project.query("SELECT run_id FROM runs")[0][0]

    assert not is_over_budget(database, run_id)

    database.dispose()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"budget_usd": 5.0}, "has no `price`"),
        ({"budget_usd": 0}, "greater than 0"),
        ({"budget_tokens": 0}, "greater than or equal to 1"),
        ({"budget_tokens": "many"}, "Expected a whole number"),
        ({"budget_usd": float("nan")}, "not a number that JSON has"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_when_loaded(
    keys: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(declared("http://127.0.0.1:1/v1", **keys), base=tmp_path)

    assert said in str(refused.value)
