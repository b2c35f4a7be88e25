"""A node waits for a database that is away, whatever it reads or writes: each transaction fails at first."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape import patience
from elspeth_dagster.landscape.database import Database
from tests.every_kind import every_kind
from tests.noderuns import NodeRuns, node_runs

Place = tuple[tuple[str, int], ...]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tries as ever, without the waits."""
    monkeypatch.setattr(patience, "WAIT_S", 0.0001)
    monkeypatch.setattr(patience, "WAIT_S_MAX", 0.001)


@contextmanager
def every_transaction_fails_at_first(database: Database) -> Iterator[set[Place]]:
    """From each place of the package, the first transaction finds the database locked; gives the places."""
    places: set[Place] = set()

    def refuse(_connection: Connection) -> None:
        frames = traceback.walk_stack(None)
        place = tuple(
            (frame.f_code.co_filename, line)
            for frame, line in frames
            if "elspeth_dagster" in frame.f_code.co_filename
        )
        if place not in places:
            places.add(place)
            locked = sqlite3.OperationalError("database is locked")
            locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("BEGIN", None, locked)

    sa.event.listen(database.engine, "begin", refuse)
    try:
        yield places
    finally:
        sa.event.remove(database.engine, "begin", refuse)


def written(folder: Path) -> dict[str, bytes]:
    """What the sinks wrote: rows, and the ids of those that failed, are the same in each run of one id."""
    return {name: (folder / f"{name}.jsonl").read_bytes() for name in ("out", "sums", "failures", "bad")}


@contextmanager
def runs_in(folder: Path) -> Iterator[NodeRuns]:
    folder.mkdir()
    with node_runs(folder, every_kind(folder, rows=40)) as run:
        yield run


def test_a_run_whose_transactions_all_fail_at_first_is_as_any_other(tmp_path: Path) -> None:
    with runs_in(tmp_path / "quiet") as quiet:
        quiet.run()
    with runs_in(tmp_path / "locked") as run:
        run.database.patience_s = 60
        with every_transaction_fails_at_first(run.database) as places:
            reports = run.run()
            again = run.run()  # everything is done already: it is looked for
        assert len(places) > 100, "hardly anything was asked"
        assert any(report.proofs.whole for report in reports.values()), "the last sink checks the whole run"
        assert all(report.balance.holds for report in (*reports.values(), *again.values()))
        assert run.findings() == []

    assert all(written(tmp_path / "quiet").values())
    assert written(tmp_path / "locked") == written(tmp_path / "quiet")


def test_without_patience_the_first_failure_ends_the_node(tmp_path: Path) -> None:
    with runs_in(tmp_path / "locked") as run:
        run.run("source")
        with every_transaction_fails_at_first(run.database), pytest.raises(ElspethError, match="locked"):
            run.run("doubled")
