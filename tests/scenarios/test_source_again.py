"""A source that is read again after a crash writes nothing new; one that changed meanwhile is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files import RawRecord
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.nodes.source import CsvSourceConfig
from elspeth_dagster.pipeline import Pipeline, pipeline_from
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.node_report import NodeReport
from elspeth_dagster.runtime.node_run import Engine, RunIdentity, run_node
from elspeth_dagster.runtime.work import Model
from tests.support import write_csv

IDENTITY = RunIdentity("run-of-this-test", "run-of-this-test", None, None, None, {}, "host", os.getpid())


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Two good rows and a bad one that is discarded."""
    write_csv(tmp_path / "in.csv", ["id"], [[0], ["bad"], [2]])
    declaration = {
        "name": "again",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
        "sinks": {"out": {"kind": "csv", "from": "source", "path": "out.csv"}},
    }
    return pipeline_from(declaration, base=tmp_path)  # type: ignore[arg-type]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    database = Database(f"sqlite:///{tmp_path / 'landscape.db'}")
    database.ensure_schema()
    clock = SystemClock()
    writer = LandscapeWriter(database, clock=clock)
    yield Engine(database, writer, clock, Stop(), _no_model, lambda _: None)
    writer.close()
    database.dispose()


def _no_model(name: str) -> Model:
    raise AssertionError(name)


def _read(pipeline: Pipeline, engine: Engine) -> NodeReport:
    return run_node(pipeline, "source", run=IDENTITY, engine=engine)


def test_reading_again_writes_nothing_new_discarded_rows_included(pipeline: Pipeline, engine: Engine) -> None:
    _read(pipeline, engine)
    report = _read(pipeline, engine)
    assert (report.balance.arrived, report.balance.completed, report.balance.failed) == (3, 2, 1)
    assert report.handle.attempt == 2


def test_a_source_that_lost_records_is_refused(pipeline: Pipeline, engine: Engine) -> None:
    _read(pipeline, engine)
    write_csv(pipeline.home.base / "in.csv", ["id"], [[0]])
    with pytest.raises(SourceError, match="it has 1 records, 3 were read before"):
        _read(pipeline, engine)


def test_a_source_that_gained_records_is_refused(pipeline: Pipeline, engine: Engine) -> None:
    _read(pipeline, engine)
    write_csv(pipeline.home.base / "in.csv", ["id"], [[0], ["bad"], [2], [3]])
    with pytest.raises(SourceError, match="it has more than the 3 records that were read before"):
        _read(pipeline, engine)


def test_a_source_may_grow_until_an_attempt_has_read_it_to_its_end(
    pipeline: Pipeline, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CsvSourceConfig.records

    def broken_off(config: CsvSourceConfig, path: Path) -> Iterator[RawRecord]:
        yield from islice(whole(config, path), 2)
        raise SourceError("The disk went away.")

    monkeypatch.setattr("elspeth_dagster.runtime.source_run.PAGE_TOKENS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(CsvSourceConfig, "records", broken_off)
        with pytest.raises(SourceError, match="went away"):
            _read(pipeline, engine)
    write_csv(pipeline.home.base / "in.csv", ["id"], [[0], ["bad"], [2], [3]])

    assert _read(pipeline, engine).balance.arrived == 4

    write_csv(pipeline.home.base / "in.csv", ["id"], [[0], ["bad"], [2], [3], [4]])
    with pytest.raises(SourceError, match="it has more than the 4 records"):
        _read(pipeline, engine)


@pytest.mark.parametrize("edited", [[[0], ["bad"], [3]], [[0], ["worse"], [2]]])
def test_a_source_whose_record_changed_is_refused_by_its_number(
    pipeline: Pipeline, engine: Engine, edited: list[list[object]]
) -> None:
    _read(pipeline, engine)
    write_csv(pipeline.home.base / "in.csv", ["id"], edited)
    number = 2 if edited[2] == [3] else 1
    with pytest.raises(SourceError, match=f"record {number} is not what was read before"):
        _read(pipeline, engine)
