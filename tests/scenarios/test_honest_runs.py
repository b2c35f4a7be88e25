"""`verify` has nothing to say about a run that came about honestly, however it came about."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.cli.main import main
from elspeth_dagster.model.canonical import content_hash, record_hash
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.scenarios.conftest import findings
from tests.support import Project, model_at, mood_pipeline, write_csv


def test_answers_taken_over_from_an_earlier_run(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url, reuse=True))
        assert project.run().success
        assert project.run().success
        assert server.stats().requests == 60
    assert findings(project) == []

    key, earlier = (key for (key,) in project.query("SELECT run_key FROM runs ORDER BY started_at DESC"))
    assert main(["explain", key, "--row", "3", "--landscape", project.landscape_url]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"judge asked fake (1 answer taken over from the earlier run {earlier}): mood" in said
    assert f"paid for as {earlier}-000000003@judge#0" in said


def test_an_answer_that_is_not_the_one_it_was_taken_over_from_is_reported(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(3)])
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url, reuse=True))
        assert project.run().success
        assert project.run().success
    with closing(sqlite3.connect(tmp_path / "landscape.db")) as connection:
        # The body of one taken-over answer, forged together with its hash and its record's hash.
        salt, call_id, digest = connection.execute(
            "SELECT tokens.salt_id, call_id, response_hash FROM calls JOIN node_states USING (state_id) "
            "JOIN tokens USING (token_id) WHERE reused_from IS NOT NULL LIMIT 1"
        ).fetchone()
        (grain,) = connection.execute("SELECT salt FROM row_salts WHERE salt_id = ?", (salt,)).fetchone()
        (body,) = connection.execute(
            "SELECT body FROM payloads WHERE salt_id = ? AND content_hash = ?", (salt, digest)
        ).fetchone()
        forged = body.replace(b"fake", b"FAKE", 1)
        assert forged != body
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        made = content_hash(grain, forged)
        connection.execute(
            "UPDATE payloads SET body = ?, content_hash = ? WHERE salt_id = ? AND content_hash = ?",
            (forged, made, salt, digest),
        )
        connection.execute("UPDATE calls SET response_hash = ? WHERE call_id = ?", (made, call_id))
        record = connection.execute("SELECT * FROM calls WHERE call_id = ?", (call_id,)).fetchone()
        connection.execute(
            "UPDATE calls SET record_hash = ? WHERE call_id = ?", (record_hash("calls", record[:-1]), call_id)
        )
        connection.commit()

    said = findings(project)

    assert f"calls {call_id}: Its answer is not that of" in "\n".join(said)
    assert not any("hash differs" in one for one in said), "only what it was taken over from gives it away"


def _asked_in_batches(base_url: str, **run: Any) -> dict[str, Any]:
    """Five rows a batch: a batch is asked about as a whole, or each of its rows."""
    return {
        "name": "batched",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "gather": {
                "kind": "aggregate",
                "from": "source",
                "trigger": {"count": 5},
                "run": {"kind": "llm", "pool": {"pool_size": 4}, **run},
            }
        },
        "sinks": {"out": {"kind": "jsonl", "from": "gather", "path": "out.jsonl"}},
    }


LEVEL = {"level": {"type": "int", "minimum": 1, "maximum": 9}}
OF_A_BATCH = {"prompt": "Sum up {% for one in rows %}{{ one.text }} {% endfor %}", "answer": LEVEL}
OF_EACH_ROW = {"queries": {"how": {"prompt": "How? {{ row.text }}", "answer": LEVEL}}}


@pytest.mark.parametrize(
    ("asked", "requests"), [(OF_A_BATCH, 12), ({**OF_EACH_ROW, "echo_id": True}, 60)], ids=["whole", "rows"]
)
def test_answers_about_batches_taken_over_from_an_earlier_run(
    project: Project, asked: dict[str, Any], requests: int
) -> None:
    with FakeModelServer() as server:
        project.declare(_asked_in_batches(server.base_url, reuse=True, **asked))
        assert project.run().success
        first = (project.folder / "out.jsonl").read_bytes()
        assert project.run().success
        assert server.stats().requests == requests
    assert (project.folder / "out.jsonl").read_bytes() == first
    assert project.query("SELECT count(*) FROM calls WHERE reused_from IS NOT NULL") == [(requests,)]
    assert findings(project) == []


def _everything(base_url: str) -> dict[str, Any]:
    """Two looks at each row by a model, joined, routed, and gathered into batches that a model sums up."""
    pool = {"pool_size": 4, "max_capacity_retry_seconds": 5}
    look = {"kind": "llm", "answer": LEVEL, "pool": pool, "reuse": True, "on_error": "failures"}
    return {
        "name": "everything",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "views": {"kind": "fork", "from": "source", "branches": ["one", "two"]},
            "one": {**look, "from": "views.one", "prompt": "One? {{ row.text }}", "answer": {"one": "str"}},
            "two": {**look, "from": "views.two", "prompt": "Two? {{ row.text }}"},
            "judged": {
                "kind": "coalesce",
                "from": {"one": "one", "two": "two"},
                "policy": "best_effort",
                "on_error": "failures",
            },
            "triage": {
                "kind": "gate",
                "from": "judged",
                "routes": {"even": "row.id % 2 == 0"},
                "otherwise": "odd",
            },
            "pairs": {
                "kind": "aggregate",
                "from": "triage.even",
                "trigger": {"count": 4},
                "run": {"kind": "llm", "pool": pool, "reuse": True, **OF_A_BATCH},
                "on_error": "failures",
            },
        },
        "sinks": {
            "odd": {"kind": "csv", "from": "triage.odd", "path": "odd.csv"},
            "pairs_out": {"kind": "jsonl", "from": "pairs", "path": "pairs.jsonl"},
            "failures": {"kind": "jsonl", "path": "failures.jsonl"},
        },
    }


@pytest.mark.parametrize(
    "project", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
def test_a_run_that_stopped_was_resumed_run_again_and_gone_on_with_in_part(project: Project) -> None:
    weather = FakeModelSettings(rules=(Rule("row-7.", Fault.CONTENT_FILTER),), faults={"http_500": 0.05})
    with FakeModelServer(weather) as server:
        project.declare(_everything(server.base_url))
        server.change(rules=(Rule("Two? row-33.", Fault.HTTP_401), *weather.rules))
        first = project.run()
        assert not first.success
        assert findings(project) == []

        server.change(rules=weather.rules)
        assert project.run(resume=first.run_id).success
        assert findings(project) == []

        assert project.run().success
        part = [dg.AssetKey(["everything", *key]) for key in (["pairs"], ["pairs_out"])]
        assert project.run(select=part).success
    assert project.query("SELECT count(*) FROM runs") == [(3,)]
    assert findings(project) == []
