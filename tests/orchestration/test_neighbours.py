"""A pipeline among ordinary assets: one of them is its source, and others read its rows as tables, with types kept."""

from __future__ import annotations

import datetime as dt
import runpy
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from elspeth_dagster import LandscapeIOManager, LandscapeResource, build_definitions
from elspeth_dagster.pipeline.load import pipeline_from
from tests.support import QUIET

COLUMNS = {
    "id": "int",
    "text": "str",
    "amount": "decimal?",
    "seen": "datetime",
    "day": "date",
    "score": "int?",
    "ok": "bool",
}


def table() -> pd.DataFrame:
    """As a warehouse's IO manager gives it: missing integers made floats, moments and decimals as they are."""
    return pd.DataFrame(
        {
            "id": [1, 2, 3],
            "text": ["fraud!", "hello", None],
            "amount": [Decimal("10.50"), None, Decimal(3)],
            "seen": pd.to_datetime(["2026-01-01T10:00:00Z"] * 3),
            "day": [dt.date(2026, 1, 1)] * 3,
            "score": [5, None, 7],
            "ok": [True, False, True],
        }
    )


def declaration() -> dict[str, Any]:
    return {
        "name": "triage",
        "source": {
            "kind": "asset",
            "asset": ["warehouse", "messages"],
            "columns": COLUMNS,
            "on_invalid": "bad",
        },
        "steps": {
            "gate": {
                "kind": "gate",
                "from": "source",
                "routes": {"urgent": "'fraud' in row.text"},
                "otherwise": "rest",
            }
        },
        "sinks": {
            "urgent": {"kind": "csv", "from": "gate.urgent", "path": "out/urgent.csv"},
            "rest": {"kind": "csv", "from": "gate.rest", "path": "out/rest.csv"},
            "bad": {"kind": "jsonl", "path": "out/bad.jsonl"},
        },
    }


def materialize(folder: Path, given: Any, *downstream: Any) -> dg.ExecuteInProcessResult:
    @dg.asset(key=["warehouse", "messages"])
    def messages() -> Any:
        return given

    url = f"sqlite:///{folder / 'landscape.db'}"
    pipeline = build_definitions(
        pipeline_from(declaration(), base=folder), landscape=LandscapeResource(url=url)
    )
    others = dg.Definitions(
        assets=[messages, *downstream], resources={"landscape_io": LandscapeIOManager(url=url)}
    )
    defs = dg.Definitions.merge(pipeline, others)
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, run_config=QUIET, raise_on_error=False
        )


def test_a_table_asset_feeds_a_pipeline_whose_rows_and_sink_feed_a_report(tmp_path: Path) -> None:
    seen: dict[str, pd.DataFrame] = {}

    @dg.asset(
        ins={
            "rest": dg.AssetIn(key=["triage", "gate", "rest"], input_manager_key="landscape_io"),
            "urgent": dg.AssetIn(key=["triage", "urgent"], input_manager_key="landscape_io"),
            "everything": dg.AssetIn(key=["triage", "source"], input_manager_key="landscape_io"),
        }
    )
    def report(rest: pd.DataFrame, urgent: pd.DataFrame, everything: pd.DataFrame) -> None:
        seen.update(rest=rest, urgent=urgent, everything=everything)

    result = materialize(tmp_path, table(), report)

    assert result.success
    assert seen["urgent"]["id"].tolist() == [1]
    assert seen["rest"]["id"].tolist() == [2]
    everything = seen["everything"]
    assert list(everything.columns) == list(COLUMNS)
    assert everything["id"].dtype == "Int64"
    assert everything["score"].tolist()[0] == 5
    assert everything["score"].isna().tolist() == [False, True]
    assert everything["amount"].tolist()[0] == Decimal("10.50")
    assert everything["seen"].tolist()[0] == pd.Timestamp("2026-01-01T10:00:00Z")
    assert everything["day"].tolist()[0] == dt.date(2026, 1, 1)
    assert everything["ok"].dtype == "boolean"
    assert (tmp_path / "out" / "bad.jsonl").read_text().count("\n") == 1  # its text is missing


def test_the_example_of_the_docs_runs(tmp_path: Path) -> None:
    folder = shutil.copytree(
        Path(__file__).parents[2] / "docs" / "examples" / "neighbours", tmp_path / "here"
    )
    names = runpy.run_path(str(folder / "definitions.py"))
    with dg.DagsterInstance.ephemeral() as instance:
        job = names["defs"].resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, run_config=QUIET)
    assert result.success
    assert (folder / "report.txt").read_text().splitlines() == [
        "2 urgent of 652.50",
        "1: Somebody paid with my card. Fraud!",
        "3: My card is lost",
    ]
    assert (folder / "out" / "bad_rows.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"id": 1}], "gave a list, not a pandas DataFrame"),
        (table().drop(columns="text"), "The table has no column 'text'. Columns there: id, amount"),
        (table().assign(text=[b"bytes", b"", b""]), "Row 0 of the table cannot be recorded"),
    ],
)
def test_what_is_no_table_of_such_rows_is_refused(tmp_path: Path, given: Any, said: str) -> None:
    result = materialize(tmp_path, given)
    assert not result.success
    failures = [
        str(event.step_failure_data.user_failure_data or event.step_failure_data.error)
        for event in result.all_events
        if event.is_step_failure
    ]
    assert said in failures[0]


def test_rows_that_were_never_made_are_asked_for_in_vain(tmp_path: Path) -> None:
    manager = LandscapeIOManager(url=f"sqlite:///{tmp_path / 'landscape.db'}")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_input_context(asset_key=dg.AssetKey(["triage", "gate", "rest"]), instance=instance)
        with pytest.raises(Exception, match="never materialized"):
            manager.load_input(context)
    with pytest.raises(Exception, match="stores no outputs"):
        manager.handle_output(dg.build_output_context(asset_key=dg.AssetKey("x")), None)
