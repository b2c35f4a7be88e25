"""A run of a part of the graph takes the rows that were there, as adopted tokens of a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from elspeth_dagster.cli.main import main
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

ROWS = 40
FAILED = 7
INVALID = 12
GOOD = ROWS - 2
ENDS = ["triage", "angry", "rest"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    ids = ["no number" if index == INVALID else index for index in range(ROWS)]
    write_csv(tmp_path / "in.csv", ["id", "text"], [[name, f"row-{at}."] for at, name in enumerate(ids)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def server() -> FakeModelServer:
    return FakeModelServer(FakeModelSettings(rules=(Rule(f"row-{FAILED}.", Fault.CONTENT_FILTER),)))


def only(project: Project, nodes: Sequence[str]) -> dg.JobExecutionResult:
    keys = [
        dg.AssetKey(["moods", *key])
        for node in nodes
        for key in ([[node, "angry"], [node, "rest"]] if node == "triage" else [[node]])
    ]
    return project.run(select=keys)


def counts(project: Project, run_id: str) -> dict[str, int]:
    return dict(
        project.query(
            "SELECT outcome, count(*) FROM token_outcomes WHERE run_id = :run GROUP BY outcome", run=run_id
        )
    )


def test_the_end_of_the_graph_runs_on_the_rows_of_the_last_run_and_asks_no_model(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        first = project.run()
        before = (project.folder / "out" / "angry.csv").read_bytes()
        asked = model.stats().requests

        second = only(project, ENDS)

        assert second.success
        assert model.stats().requests == asked
    assert (project.folder / "out" / "angry.csv").read_bytes() == before
    made = project.query(
        "SELECT t.token_id, p.parent_token_id, p.relation, t.salt_id = o.salt_id, t.order_key = o.order_key "
        "FROM tokens t JOIN token_parents p ON p.token_id = t.token_id "
        "JOIN tokens o ON o.token_id = p.parent_token_id WHERE t.run_id = :run",
        run=second.run_id,
    )
    assert len(made) == GOOD
    for token, parent, relation, same_salt, same_order in made:
        assert token == f"{second.run_id[:8]}:{parent}"
        assert parent.startswith(first.run_id[:8])
        assert relation == "adopted"
        assert same_salt
        assert same_order
    assert counts(project, second.run_id) == {"routed": GOOD}
    assert project.query(
        "SELECT node_id FROM nodes WHERE run_id = :run AND kind = 'adopted'", run=second.run_id
    ) == [("judge",)]
    assert main(["verify", second.run_id[:8], "--landscape", project.landscape_url]) == 0


def test_a_middle_step_hands_its_rows_on_and_the_next_run_adopts_those(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        project.run()
        asked = model.stats().requests

        middle = only(project, ["judge"])

        assert middle.success
        assert model.stats().requests > asked  # it was asked for: it is done again
        assert counts(project, middle.run_id) == {"handed_on": GOOD + 1}
        end = only(project, ENDS)
    parents = project.query(
        "SELECT DISTINCT o.run_id FROM token_parents p JOIN tokens t ON t.token_id = p.token_id "
        "JOIN tokens o ON o.token_id = p.parent_token_id WHERE t.run_id = :run",
        run=end.run_id,
    )
    assert parents == [(middle.run_id,)]


def test_sinks_of_failed_and_quarantined_rows_run_by_themselves_and_say_the_same(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        project.run()
        before = [project.jsonl("out/bad.jsonl"), project.jsonl("out/failures.jsonl")]
        part = only(project, ["bad", "failures"])
    after = [project.jsonl("out/bad.jsonl"), project.jsonl("out/failures.jsonl")]
    assert part.success
    for old, new in zip(before, after, strict=True):
        assert [_plain(row) for row in new] == [_plain(row) for row in old]
        assert len(new) == 1
    assert counts(project, part.run_id) == {"quarantined": 1, "routed": 1}


def test_the_beginning_alone_hands_everything_on(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        part = only(project, ["source"])
        assert part.success
        assert counts(project, part.run_id) == {"handed_on": ROWS}
        assert only(project, ["judge", "failures"]).success


def test_a_part_that_failed_is_resumed_and_adopts_nothing_twice(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        project.run()
        blocked = project.folder / "out" / "angry.csv"
        blocked.unlink()
        blocked.mkdir()
        first = only(project, ENDS)
        assert not first.success
        blocked.rmdir()

        assert project.run(resume=first.run_id).success

    assert project.query("SELECT count(*) FROM runs") == [(2,)]
    assert counts(project, first.run_id) == {"routed": GOOD}


def test_what_was_never_materialized_is_named(project: Project) -> None:
    with server() as model:
        project.declare(mood_pipeline(model.base_url))
        result = only(project, ENDS)
    assert not result.success
    said = [
        event.step_failure_data.user_failure_data.description
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    assert "'judge' was never materialized: there are no rows to take from it." in str(said[0])


FORKED = {
    "name": "moods",
    "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "str", "text": "str"}},
    "steps": {
        "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
        "one": {"kind": "map", "from": "split.a", "set": {"x": "1"}},
        "two": {"kind": "map", "from": "split.b", "set": {"y": "2"}},
        "joined": {"kind": "coalesce", "from": {"a": "one", "b": "two"}},
    },
    "sinks": {"out": {"kind": "csv", "from": "joined", "path": "out/joined.csv"}},
}


def refusals(result: dg.JobExecutionResult) -> list[str]:
    return [
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]


def some(project: Project, *paths: str) -> dg.JobExecutionResult:
    return project.run(select=[dg.AssetKey(["moods", *path.split("/")]) for path in paths])


def test_a_join_without_its_fork_is_refused_and_the_branch_that_is_missing_named(project: Project) -> None:
    project.declare(FORKED)
    assert project.run().success
    first = project.query("SELECT count(*) FROM runs")

    for chosen, missing in ((["joined", "out"], "one"), (["one", "joined", "out"], "split")):
        result = some(project, *chosen)
        assert not result.success
        (said,) = refusals(result)
        assert f"'joined' joins the branches of a fork, and '{missing}' is not selected." in said
        assert "next:  select everything from the fork to the join" in said
    assert project.query("SELECT count(*) FROM runs") == first


def test_a_join_with_its_fork_and_what_comes_behind_it_are_parts_that_run(project: Project) -> None:
    project.declare(FORKED)
    assert project.run().success
    before = (project.folder / "out" / "joined.csv").read_bytes()
    (project.folder / "out" / "joined.csv").unlink()

    behind = some(project, "out")
    assert behind.success
    assert (project.folder / "out" / "joined.csv").read_bytes() == before

    whole = some(project, "split/a", "split/b", "one", "two", "joined")
    assert whole.success
    assert counts(project, whole.run_id) == {"forked": ROWS, "coalesced": 2 * ROWS, "handed_on": ROWS}
    for part in (behind, whole):
        assert main(["verify", part.run_id[:8], "--landscape", project.landscape_url]) == 0


def _plain(row: dict[str, object]) -> dict[str, object]:
    error = row["_error"]
    assert isinstance(error, dict)
    return {**row, "_error": {key: value for key, value in error.items() if key != "token_id"}}
