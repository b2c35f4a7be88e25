"""An aggregate in Dagster: its batches by trigger are on its materialization, its shape is in the asset graph."""

from __future__ import annotations

from typing import Any

import dagster as dg

from elspeth_dagster.testing import FakeModelServer
from tests.scenarios.conftest import findings
from tests.scenarios.test_batches_asked import QUERIES, asked
from tests.support import Project


def materialization(project: Project, key: list[str]) -> dict[str, Any]:
    with project.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
        assert event is not None
        assert event.asset_materialization is not None
        found = event.asset_materialization.metadata
        return {
            name: [record.data for record in value.records]
            if isinstance(value, dg.TableMetadataValue)
            else value.value
            for name, value in found.items()
        }


def totals() -> dict[str, Any]:
    return {
        "name": "totals",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "thirds": {"kind": "map", "from": "source", "set": {"third": "row.id % 3"}},
            "total": {
                "kind": "aggregate",
                "from": "thirds",
                "trigger": {"count": 8, "condition": "row.id == 30"},
                "group_by": ["third"],
                "run": {"kind": "stats", "fields": ["id"]},
            },
        },
        "sinks": {"out": {"kind": "csv", "from": "total", "path": "out.csv"}},
    }


def test_the_materialization_shows_the_batches_by_trigger(project: Project) -> None:
    project.declare(totals())
    assert project.run().success
    shown = materialization(project, ["totals", "total"])
    assert shown["elspeth/batches"] == [
        {
            "trigger": "count",
            "batches": 6,
            "failed": 0,
            "rows in": 48,
            "smallest": 8,
            "largest": 8,
            "rows out": 6,
        },
        {
            "trigger": "end_of_source",
            "batches": 3,
            "failed": 0,
            "rows in": 9,
            "smallest": 1,
            "largest": 4,
            "rows out": 3,
        },
        {
            "trigger": "condition",
            "batches": 1,
            "failed": 0,
            "rows in": 3,
            "smallest": 3,
            "largest": 3,
            "rows out": 1,
        },
    ]
    assert (
        shown["elspeth/batches_fired"],
        shown["elspeth/batches_failed"],
        shown["elspeth/batch_size_max"],
    ) == (10, 0, 8)
    assert (shown["dagster/row_count"], shown["elspeth/rows_in"], shown["elspeth/rows_out"]) == (10, 60, 10)
    rows = project.csv("out.csv")
    assert list(rows[0]) == ["third", "id_count", "id_sum", "id_mean", "id_min", "id_max"]
    assert sum(int(row["id_sum"]) for row in rows) == sum(range(60))
    assert findings(project) == []


def test_an_aggregate_that_asks_shows_its_pool_and_proves_its_order(project: Project) -> None:
    with FakeModelServer() as server:
        declared = asked(server.base_url, {"queries": QUERIES}, output_mode="passthrough", group_by=["third"])
        declared["steps"]["thirds"] = {"kind": "map", "from": "source", "set": {"third": "row.id % 3"}}
        declared["steps"]["gather"]["from"] = "thirds"
        project.declare(declared)
        result = project.run()
        assert result.success
    shown = materialization(project, ["asked", "gather"])
    assert shown["elspeth/pool_config"]["pool_size"] == 8
    assert shown["elspeth/rows_out"] == 60
    checks = {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data.passed
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
        and event.asset_check_evaluation_data.asset_key == dg.AssetKey(["asked", "gather"])
    }
    assert checks["balance"]
    assert checks["order"]
    assert findings(project) == []
