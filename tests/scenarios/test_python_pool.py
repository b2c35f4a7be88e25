"""A python step with a pool: rows overlap in threads, leave in order, and wait for who has no capacity now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.pipeline.load import pipeline_from
from tests.noderuns import NodeRuns, node_runs, sink, source_of

OVERLAPS = """\
import threading

MET = threading.Barrier(4, timeout=30)


def f(row):
    if row["id"] < 4:
        MET.wait()  # four threads must be here at once
    return {**row, "twice": row["id"] * 2}
"""

BUSY = """\
from elspeth_dagster.pooling import CapacityError

TRIES = {}


def f(row):
    tries = TRIES[row["id"]] = TRIES.get(row["id"], 0) + 1
    if row["id"] == 3 and tries < 3:
        raise CapacityError("come back later", status_code=429)
    return {**row, "tries": tries}
"""


def pooled(folder: Path, code: str, rows: int = 10, **step: Any) -> dict[str, Any]:
    (folder / "rules.py").write_text(code, "utf-8")
    return {
        "name": "pooled",
        "source": source_of(folder, [{"id": index} for index in range(rows)], {"id": "int"}),
        "steps": {
            "call": {
                "kind": "python",
                "from": "source",
                "call": "rules:f",
                "pool": {"pool_size": 4, "min_dispatch_delay_ms": 0, "recovery_step_ms": 1},
                "on_error": "failures",
                **step,
            }
        },
        "sinks": {"out": sink("call", name="out"), "failures": sink(name="failures")},
    }


def contexts(run: NodeRuns) -> list[dict[str, Any]]:
    found = run.query("SELECT context_after_json FROM node_states WHERE node_id = 'call' ORDER BY order_key")
    return [json.loads(text)["pool"] for (text,) in found]


def test_rows_overlap_in_threads_and_leave_in_order(tmp_path: Path) -> None:
    with node_runs(tmp_path, pooled(tmp_path, OVERLAPS)) as run:
        reports = run.run()
        assert [row["twice"] for row in run.rows("out")] == list(range(0, 20, 2))
        assert [one["submit_index"] for one in contexts(run)] == list(range(10))
        assert sorted(one["complete_index"] for one in contexts(run)) == list(range(10))
        stats = reports["call"].pool_stats
        assert stats is not None
        assert stats["pool_stats"]["max_concurrent_reached"] == 4  # type: ignore[index,call-overload]
        assert reports["call"].balance.holds
        assert run.findings() == []


def test_an_error_of_capacity_is_tried_again_and_fails_no_row(tmp_path: Path) -> None:
    with node_runs(tmp_path, pooled(tmp_path, BUSY)) as run:
        reports = run.run()
        assert [row["tries"] for row in run.rows("out")] == [1, 1, 1, 3, 1, 1, 1, 1, 1, 1]
        stats = reports["call"].pool_stats
        assert stats is not None
        assert stats["pool_stats"]["capacity_retries"] == 2  # type: ignore[index,call-overload]
        assert run.findings() == []


def test_a_row_whose_budget_is_spent_fails_with_what_was_said_last(tmp_path: Path) -> None:
    code = BUSY.replace("tries < 3", "tries")
    pool = {"pool_size": 4, "recovery_step_ms": 1, "max_capacity_retry_seconds": 1}
    with node_runs(tmp_path, pooled(tmp_path, code, pool=pool)) as run:
        run.run()
        (failed,) = run.rows("failures")
        assert (failed["id"], failed["_error"]["code"], failed["_error"]["status_code"]) == (
            3,
            "retry_timeout",
            429,
        )
        assert len(run.rows("out")) == 9
        assert run.findings() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise ValueError(row['id'])", "step_raised"),
        ("return 7", "step_returned_no_row"),
        ("raise SystemExit", "step_raised"),
    ],
)
def test_what_the_function_does_wrong_is_its_rows_error(tmp_path: Path, body: str, code: str) -> None:
    source = f"def f(row):\n    if row['id'] == 3:\n        {body}\n    return row\n"
    with node_runs(tmp_path, pooled(tmp_path, source)) as run:
        run.run()
        assert [(row["id"], row["_error"]["code"]) for row in run.rows("failures")] == [(3, code)]
        assert [row["id"] for row in run.rows("out")] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        assert run.findings() == []


def test_a_module_that_is_imported_by_a_call_is_found_in_every_thread(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def plus(n):\n    return n + 1\n", "utf-8")
    source = "def f(row):\n    from helper import plus\n    return {'id': plus(row['id'])}\n"
    with node_runs(tmp_path, pooled(tmp_path, source)) as run:
        run.run()
        assert [row["id"] for row in run.rows("out")] == list(range(1, 11))


def test_a_stopped_step_goes_on_where_it_was(tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    source = (
        "import pathlib\n\n\ndef f(row):\n    flag = pathlib.Path(__file__).with_name('broken')\n"
        "    assert not (flag.exists() and row['id'] >= 20)\n    return row\n"
    )
    declared = pooled(tmp_path, source, rows=60, max_error_rate=0.3)
    with node_runs(tmp_path, declared) as run:
        with pytest.raises(Exception, match="more than max_error_rate"):
            run.run()
        flag.unlink()
        reports = run.run()
        assert reports["call"].handle.attempt == 2
        assert len(run.rows("out")) + len(run.rows("failures")) == 60
        assert [row["id"] for row in run.rows("out")] == sorted(row["id"] for row in run.rows("out"))
        assert run.findings() == []


def test_a_page_of_rows_has_no_pool(tmp_path: Path) -> None:
    declared = pooled(tmp_path, "def f(frame):\n    return frame\n", batch=True)
    with pytest.raises(DeclarationError) as raised:
        pipeline_from(declared, base=tmp_path, root=tmp_path)
    assert "a page of rows is one call" in raised.value.mistakes[0]


def test_the_pool_is_operational_and_the_function_is_not(tmp_path: Path) -> None:
    def decision(**pool: int) -> object:
        declared = pooled(tmp_path, "def f(row):\n    return row\n", pool=pool)
        return pipeline_from(declared, base=tmp_path, root=tmp_path).nodes["call"].decision

    assert decision(pool_size=1) == decision(pool_size=9)
