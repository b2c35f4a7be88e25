"""After a kill, a batch that was filling fills again, one that was executing runs again: its id, its rows."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.scenarios.conftest import findings
from tests.scenarios.test_batches_asked import QUERIES, asked
from tests.support import Project

WAIT_S_MAX = 60
POOL = 8

DIES = """\
import os
import pathlib
import signal


def total(frame):
    if 33 in set(frame["id"]) and pathlib.Path(__file__).with_name("die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"ids": ",".join(map(str, frame["id"]))}
"""


def _totals() -> dict[str, Any]:
    """Two groups, whose batches fill side by side."""
    return {
        "name": "totals",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "halves": {"kind": "map", "from": "source", "set": {"half": "row.id % 2"}},
            "total": {
                "kind": "aggregate",
                "from": "halves",
                "trigger": {"count": 7},
                "group_by": ["half"],
                "run": {"kind": "python", "call": "dies:total"},
            },
        },
        "sinks": {"out": {"kind": "jsonl", "from": "total", "path": "out.jsonl"}},
    }


def test_a_process_killed_in_the_middle_of_a_batch_loses_none_and_cuts_no_other(project: Project) -> None:
    (project.folder / "dies.py").write_text(DIES, "utf-8")
    (project.folder / "die").touch()
    project.declare(_totals())
    process = project.spawn("project.run()")
    process.wait(WAIT_S_MAX)
    assert project.query("SELECT batch_index, member_count FROM batches WHERE status = 'executing'") == [
        (5, 7)
    ]
    before = _members(project)

    (project.folder / "die").unlink()
    assert project.run(resume=_the_only_run(project)).success

    after = _members(project)
    assert before == after[: len(before)]
    assert sorted(token for _, _, token in after) == [
        f"{token[:-2]}{row:02d}" for row, (_, _, token) in enumerate(after)
    ]
    assert project.query("SELECT batch_index FROM batches WHERE status <> 'completed'") == []
    ids = [[int(one) for one in row["ids"].split(",")] for row in project.jsonl("out.jsonl")]
    assert sorted(one for batch in ids for one in batch) == list(range(60))
    assert all(batch == list(range(batch[0], batch[-1] + 1, 2)) for batch in ids)
    assert findings(project) == []


def test_a_process_killed_while_a_batch_asks_repeats_at_most_its_pool(project: Project) -> None:
    hang = FakeModelSettings(latency_ms=2, rules=(Rule("tone? row-33.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server:
        run = {"queries": QUERIES, "pool": {"pool_size": POOL}}
        project.declare(asked(server.base_url, run, output_mode="passthrough"))
        process = project.spawn("project.run()")
        _until(lambda: server.stats().answered >= 120, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = _members(project)

        server.change(rules=())
        assert project.run(resume=_the_only_run(project)).success

        assert server.stats().repeated <= POOL
    assert set(before) <= set(_members(project))
    unknown = project.query("SELECT count(*) FROM calls WHERE status = 'unknown'")[0][0]
    assert 1 <= unknown <= POOL
    assert project.query("SELECT DISTINCT status FROM batches") == [("completed",)]
    assert [row["id"] for row in project.jsonl("out.jsonl")] == list(range(60))
    assert findings(project) == []


def _members(project: Project) -> list[tuple[int, int, str]]:
    return [
        (index, ordinal, token)
        for index, ordinal, token in project.query(
            "SELECT batch_index, ordinal, token_id FROM batch_members JOIN batches USING (batch_id) "
            "ORDER BY batch_index, ordinal"
        )
    ]


def _the_only_run(project: Project) -> str:
    with project.instance() as instance:
        (run,) = instance.get_runs()
        instance.report_run_failed(run)
        return run.run_id


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that another process does."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert process.poll() is None, "the process ended before its time"
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.01)
