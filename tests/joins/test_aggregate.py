"""An aggregate makes of many rows what its run makes of them, and every record says which rows they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.runtime import batch_feed
from tests.cli.tampering import tamper
from tests.joins.clocked import CLOCK
from tests.noderuns import NodeRuns, node_runs, sink, source_of
from tests.support import Project

ROWS = [{"id": index, "kind": "ab"[index % 2], "n": index * 10} for index in range(7)]
STATS = {"kind": "stats", "fields": ["n"]}


def gathered(folder: Path, rows: list[dict[str, Any]] | None = None, **aggregate: Any) -> dict[str, Any]:
    """source -> tidy -> totals -> a sink, and one for failures."""
    return {
        "name": "gathered",
        "source": source_of(
            folder, ROWS if rows is None else rows, {"id": "int", "kind": "str?", "n": "json?"}
        ),
        "steps": {
            "tidy": {"kind": "map", "from": "source"},
            "totals": {
                "kind": "aggregate",
                "from": "tidy",
                "trigger": {"count": 3},
                "run": STATS,
                "on_error": "failures",
                **aggregate,
            },
        },
        "sinks": {"out": sink("totals", name="out"), "failures": sink(name="failures")},
    }


def python(folder: Path, body: str) -> dict[str, Any]:
    (folder / "rules.py").write_text(f"import pandas as pd\n\n\ndef f(frame):\n    {body}\n", "utf-8")
    return {"kind": "python", "call": "rules:f"}


def batches(run: NodeRuns) -> list[tuple[Any, ...]]:
    return run.query(
        "SELECT batch_index, trigger_type, status, member_count, output_count FROM batches ORDER BY batch_index"
    )


def members(run: NodeRuns) -> dict[int, list[int]]:
    """The rows of each batch, by its index."""
    found = run.query(
        "SELECT batch_index, token_id FROM batch_members JOIN batches USING (batch_id) ORDER BY batch_index, ordinal"
    )
    made: dict[int, list[int]] = {}
    for index, token_id in found:
        made.setdefault(index, []).append(int(token_id.rpartition("-")[2]))
    return made


def test_batches_are_cut_by_count_and_the_end_flushes_the_rest(tmp_path: Path) -> None:
    with node_runs(tmp_path, gathered(tmp_path)) as run:
        reports = run.run()
        assert batches(run) == [
            (0, "count", "completed", 3, 1),
            (1, "count", "completed", 3, 1),
            (2, "end_of_source", "completed", 1, 1),
        ]
        assert run.rows("out") == [
            {"n_count": 3, "n_sum": 30, "n_mean": 10.0, "n_min": 0, "n_max": 20},
            {"n_count": 3, "n_sum": 120, "n_mean": 40.0, "n_min": 30, "n_max": 50},
            {"n_count": 1, "n_sum": 60, "n_mean": 60.0, "n_min": 60, "n_max": 60},
        ]
        assert all(report.balance.holds for report in reports.values())
        totals = reports["totals"]
        assert (totals.tally.rows_in, totals.tally.rows_out, totals.tally.rows_failed) == (7, 3, 0)
        assert {one.trigger: (one.batches, one.members) for one in totals.batches} == {
            "count": (2, 6),
            "end_of_source": (1, 1),
        }
        assert run.findings() == []


def test_each_group_has_a_batch_of_its_own_and_its_fields_come_out(tmp_path: Path) -> None:
    with node_runs(tmp_path, gathered(tmp_path, group_by=["kind"])) as run:
        run.run()
        assert members(run) == {0: [0, 2, 4], 1: [1, 3, 5], 2: [6]}
        assert [(row["kind"], row["n_sum"]) for row in run.rows("out")] == [("a", 60), ("b", 90), ("a", 60)]
        assert run.findings() == []


def test_the_evidence_holds_the_hash_of_a_group_and_no_value(tmp_path: Path) -> None:
    rows = [{"id": 1, "kind": "Jane Doe", "n": 1}]
    with node_runs(tmp_path, gathered(tmp_path, rows, group_by=["kind"])) as run:
        run.run()
        ((batch_id, group_hash, salt),) = run.query(
            "SELECT batch_id, group_hash, salt FROM batches JOIN row_salts USING (salt_id)"
        )
        body = canonical_bytes({"kind": "Jane Doe"})
        assert group_hash == content_hash(salt, body)
        assert (batch_id, body) in run.query("SELECT salt_id, body FROM payloads")
        for table in ("batches", "batch_members", "batch_outputs", "node_states", "tokens", "token_parents"):
            assert "Jane" not in str(run.query(f"SELECT * FROM {table}"))  # noqa: S608 - our own names


def test_an_output_leads_to_all_its_members_and_each_member_to_it(tmp_path: Path) -> None:
    run_of = {"kind": "stats", "fields": ["n"], "group_by": ["kind"]}
    with node_runs(tmp_path, gathered(tmp_path, run=run_of)) as run:
        run.run()
        parents = run.query(
            "SELECT token_id, parent_token_id, ordinal, relation FROM token_parents WHERE token_id LIKE '%#0/%' "
            "ORDER BY token_id, ordinal"
        )
        assert parents == [
            (f"11112222/totals#0/{output}", f"11112222-00000000{row}", row, "batch")
            for output in (0, 1)
            for row in (0, 1, 2)
        ]
        assert run.query(
            "SELECT ordinal, token_id FROM batch_outputs WHERE batch_id LIKE '%#0' ORDER BY 1"
        ) == [
            (0, "11112222/totals#0/0"),
            (1, "11112222/totals#0/1"),
        ]
        states = run.query(
            "SELECT status, out_port, context_after_json FROM node_states WHERE state_id = '11112222-000000001@totals'"
        )
        assert states[0][:2] == ("completed", None)
        assert json.loads(states[0][2]) == {
            "batch": {"batch_id": "11112222/totals#0", "ordinal": 1, "trigger": "count"}
        }
        assert run.outcomes()["1"] == ("consumed_in_batch", None, None)
        assert run.findings() == []


def test_outputs_stand_behind_their_last_member(tmp_path: Path) -> None:
    with node_runs(tmp_path, gathered(tmp_path, group_by=["kind"], trigger={"count": 2})) as run:
        run.run()
        found = run.query("SELECT token_id, order_key FROM tokens WHERE row_id IS NULL ORDER BY order_key")
        assert [(token.rpartition("#")[2], bytes(key)) for token, key in found] == [
            ("0/0", bytes([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0])),
            ("1/0", bytes([0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0])),
            ("3/0", bytes([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0])),
            ("2/0", bytes([0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0])),
        ]


def test_passthrough_keeps_the_rows_and_their_order(tmp_path: Path) -> None:
    run_of = python(tmp_path, "frame['share'] = frame['n'] / frame['n'].sum(); return frame")
    with node_runs(tmp_path, gathered(tmp_path, output_mode="passthrough", run=run_of)) as run:
        run.run()
        assert [row["id"] for row in run.rows("out")] == list(range(7))
        assert [row["share"] for row in run.rows("out")][:3] == [0, 10 / 30, 20 / 30]
        assert run.query("SELECT count(*) FROM tokens") == [(7,)]
        assert run.query(
            "SELECT count(*) FROM batch_outputs o JOIN batch_members m USING (token_id, ordinal)"
        ) == [(7,)]
        assert set(run.outcomes().values()) == {("completed", "out", None)}
        assert run.findings() == []


def test_a_batch_that_fails_fails_every_member_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run_of = python(tmp_path, "assert 40 not in set(frame['n']), 'forty'; return {'sum': frame['n'].sum()}")
    with node_runs(tmp_path, gathered(tmp_path, run=run_of)) as run:
        reports = run.run()
        assert batches(run) == [
            (0, "count", "completed", 3, 1),
            (1, "count", "failed", 3, 0),
            (2, "end_of_source", "completed", 1, 1),
        ]
        failures = run.rows("failures")
        assert [row["id"] for row in failures] == [3, 4, 5]
        for row in failures:
            assert row["_error"]["code"] == "step_raised"
            assert row["_error"]["message"] == "AssertionError: forty"
            assert row["_error"]["batch_id"] == "11112222/totals#1"
        ((error,),) = run.query("SELECT error_json FROM batches WHERE status = 'failed'")
        assert json.loads(error)["code"] == "step_raised"
        assert [row["sum"] for row in run.rows("out")] == [30, 60]
        assert reports["totals"].tally.rows_failed == 3
        assert run.findings() == []


def test_a_row_that_can_be_in_no_batch_fails_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 0, "n": 1},
        {"id": 1, "n": "many"},
        {"id": 2, "n": 2},
        {"id": 3, "n": 3},
    ]
    with node_runs(tmp_path, gathered(tmp_path, rows)) as run:
        run.run()
        assert members(run) == {0: [0, 2, 3]}
        (failed,) = run.rows("failures")
        assert (failed["id"], failed["_error"]["code"], failed["_error"]["field"]) == (
            1,
            "type_mismatch",
            "n",
        )
        assert run.findings() == []


def test_a_row_without_the_field_of_its_group_fails_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 0, "kind": "a", "n": 1},
        {"id": 1, "n": 5},
        {"id": 2, "kind": "a", "n": 2},
    ]
    (tmp_path / "rules.py").write_text(
        "def f(row):\n    return {name: value for name, value in row.items() if value is not None}\n"
    )
    declared = gathered(tmp_path, rows, group_by=["kind"], run=STATS)
    declared["steps"]["tidy"] = {"kind": "python", "from": "source", "call": "rules:f"}
    with node_runs(tmp_path, declared) as run:
        run.run()
        assert members(run) == {0: [0, 2]}
        assert [row["_error"]["code"] for row in run.rows("failures")] == ["missing_field"]
        assert run.findings() == []


@pytest.mark.parametrize("condition", ["batch_count", "row.kind > 3"])
def test_a_condition_that_is_not_boolean_fails_its_rows_and_no_batch(tmp_path: Path, condition: str) -> None:
    declared = gathered(tmp_path, trigger={"condition": condition}, max_error_rate=1.0)
    with node_runs(tmp_path, declared) as run:
        run.run()
        assert batches(run) == []
        assert {row["_error"]["code"] for row in run.rows("failures")} == {"expression_failed"}
        assert run.findings() == []


def test_one_row_too_large_to_be_kept_fails_the_batch(tmp_path: Path) -> None:
    run_of = python(tmp_path, "return [{'x': 1}, {'x': 'x' * 2_000_000}]")
    with node_runs(tmp_path, gathered(tmp_path, run=run_of, max_error_rate=1.0)) as run:
        run.run()
        assert {status for _, _, status, _, _ in batches(run)} == {"failed"}
        assert {row["_error"]["code"] for row in run.rows("failures")} == {"payload_too_large"}
        assert run.query("SELECT count(*) FROM batch_outputs") == [(0,)]
        assert run.findings() == []


def test_the_error_rate_counts_members_not_outputs(tmp_path: Path) -> None:
    rows = [{"id": index, "n": index} for index in range(100)]
    run_of = python(tmp_path, "assert 50 not in set(frame['n']); return {'sum': frame['n'].sum()}")
    declared = gathered(tmp_path, rows, run=run_of, trigger={"count": 25}, max_error_rate=0.4)
    with node_runs(tmp_path, declared) as run:
        assert run.run()["totals"].tally.rows_failed == 25  # of 75, when it was judged: a third


def test_what_waits_for_a_trigger_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_feed, "MEMBERS_MAX", 5)
    with node_runs(tmp_path, gathered(tmp_path, trigger={"condition": "row.n > 1000"})) as run:
        with pytest.raises(NodeStoppedError) as stopped:
            run.run()
        assert stopped.value.reason == "batch_too_large"
        assert "more than 5 rows" in str(stopped.value)
        assert run.query("SELECT count(*) FROM token_outcomes WHERE outcome = 'failed'") == [(0,)]


def test_a_timeout_goes_by_the_recorded_times_of_the_step_before(tmp_path: Path) -> None:
    """What the aggregate's own work takes, and when it runs, does not matter."""
    declared = gathered(tmp_path, trigger={"timeout_seconds": 0.05})
    declared["steps"]["tidy"] = {"kind": "python", "from": "source", "call": "tests.joins.clocked:takes"}
    with node_runs(tmp_path, declared, clock=CLOCK) as run:
        run.run("source", "tidy")
        CLOCK.pass_ms(1_000_000)
        run.run("totals")
        # Completed at 0, 10, 30, 60, 100, 150, 210 ms.
        assert members(run) == {0: [0, 1, 2], 1: [3, 4], 2: [5], 3: [6]}
        assert run.query("SELECT trigger_type, age_seconds FROM batches ORDER BY batch_index") == [
            ("timeout", 0.06),
            ("timeout", 0.09),
            ("timeout", 0.06),
            ("end_of_source", 0.0),
        ]


def test_nothing_came_makes_no_batch(tmp_path: Path) -> None:
    with node_runs(tmp_path, gathered(tmp_path, [])) as run:
        assert run.run()["totals"].batches == ()
        assert run.rows("out") == []
        assert run.findings() == []


def test_time_that_nobody_records_is_told_when_the_pipeline_is_loaded(tmp_path: Path) -> None:
    declared = gathered(tmp_path, trigger={"timeout_seconds": 5})
    assert pipeline_from(declared, base=tmp_path, root=tmp_path).warnings == ()
    declared["steps"]["totals"]["from"] = "source"
    del declared["steps"]["tidy"]
    (warning,) = pipeline_from(declared, base=tmp_path, root=tmp_path).warnings
    assert str(warning).startswith("'totals' takes its rows straight from the source")


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            "DELETE FROM batch_members WHERE ordinal = 1 AND batch_id LIKE '%#1'",
            "2 are there, numbered up to 2; the batch says 3",
        ),
        (
            "UPDATE batch_members SET ordinal = 7 WHERE ordinal = 2 AND batch_id LIKE '%#1'",
            "3 are there, numbered up to 7; the batch says 3",
        ),
        (
            "DELETE FROM batch_outputs WHERE batch_id LIKE '%#1'",
            "0 are there, numbered up to -1; the batch says 1",
        ),
        (
            "DELETE FROM token_parents WHERE ordinal = 0 AND token_id LIKE '%#1/0'",
            "It has 2 parents, 2 of them in their places",
        ),
        (
            "UPDATE token_outcomes SET outcome = 'failed' WHERE token_id LIKE '%-000000004'",
            "and the token did not end accordingly",
        ),
    ],
)
def test_a_batch_that_is_not_whole_is_found(tmp_path: Path, statement: str, finding: str) -> None:
    with node_runs(tmp_path, gathered(tmp_path)) as run:
        run.run()
        tamper(
            Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}"),
            "PRAGMA foreign_keys = OFF",
            statement,
        )
        assert any(finding in found for found in run.findings()), run.findings()
