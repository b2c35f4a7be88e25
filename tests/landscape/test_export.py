"""An export is the same from either database, complete for joins and batches, and streamed."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from elspeth_dagster.landscape import Landscape
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.export import export_run
from elspeth_dagster.landscape.export_files import Format
from tests.landscape.family import FAMILY_RUN, make_family
from tests.landscape.material import NOW

ROWS = 5
COUNTS = {
    "rows": ROWS,
    "tokens": 4 * ROWS + 1,
    "token_parents": 5 * ROWS,
    "coalesce_events": ROWS,
    "batches": 1,
    "batch_members": ROWS,
    "batch_outputs": 1,
    "token_outcomes": 4 * ROWS + 1,
    "row_salts": ROWS + 1,
}
OTHER = replace(FAMILY_RUN, run_id="2b" * 18, dagster_run_id="2b" * 18, pipeline="other")
BODIES, BODY_BYTES = 400, 200_000
PEAK_BYTES_MAX = BODIES * BODY_BYTES // 2


def _export(url: str, key: str, target: Path, form: Format = "jsonl") -> Path:
    with Landscape.open(url) as landscape:
        export_run(landscape.database, landscape.run(key), target, form=form, exported_at=NOW)
    return target


def test_only_the_runs_own_records_are_exported(database: Database, url: str, tmp_path: Path) -> None:
    family = make_family(database, ROWS)
    other = make_family(database, 2, run=OTHER)
    folder = _export(url, family.key, tmp_path / "one")
    for name, count in COUNTS.items():
        lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == count, name
        assert not any(other.key in line for line in lines)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_large_bodies_are_streamed(database: Database, url: str, tmp_path: Path, form: Format) -> None:
    family = make_family(database, 1)
    for number in range(BODIES):
        family.body(family.row_id(0), {"number": number, "text": chr(97 + number % 26) * BODY_BYTES})
    family.store()
    _export(url, family.key, tmp_path / "warm", form)  # imports what it needs
    tracemalloc.start()
    folder = _export(url, family.key, tmp_path / "export", form)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (payloads,) = [one for one in manifest["files"] if one["table"] == "payloads"]
    assert payloads["records"] > BODIES
    assert peak < PEAK_BYTES_MAX
