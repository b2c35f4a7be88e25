"""One honest run for all tests, and copies of it that can be changed behind the triggers' back."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.invariants.finding import Check, Finding
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import CHECKS, VerifyReport, verify_run
from elspeth_dagster.landscape.witness import Witness, WitnessedSeal
from elspeth_dagster.model.outcome import RunStatus
from tests.evidence.honest import RUN_ID, SECOND, honest_run

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)

_COMPILED: Final[dict[Any, Any]] = {}
"""Statements that were compiled once, for all copies: each is verified once, and compiling takes most of that."""


@dataclass(frozen=True)
class Honest:
    """The run's database, and what Dagster's log says of it."""

    path: Path
    witness: Witness


@dataclass(frozen=True)
class Copy:
    """A database that a test may change."""

    path: Path
    witness: Witness

    @property
    def database(self) -> Database:
        database = Database(f"sqlite:///{self.path}")
        database.engine.update_execution_options(compiled_cache=_COMPILED)
        return database

    def change(self, *statements: str | tuple[str, tuple[object, ...]]) -> None:
        """Drop every trigger, look away from every constraint, then change what they guard."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.execute("PRAGMA ignore_check_constraints=ON")
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                sql, parameters = (statement, ()) if isinstance(statement, str) else statement
                changed = connection.execute(sql, parameters)
                assert sql.startswith("DROP") or changed.rowcount, f"nothing was changed by {sql}"

    def report(
        self, *, with_dagster: bool = True, run: str = RUN_ID, checks: Mapping[str, Check] = CHECKS
    ) -> VerifyReport:
        """What `verify` says of the run of this id or key."""
        database = self.database
        try:
            found = find_run(database, run)
            witness = self.witness if with_dagster else None
            return verify_run(database, found, now=NOW, witness=witness, checks=checks)
        finally:
            database.dispose()

    def findings(
        self, *, with_dagster: bool = True, run: str = RUN_ID, checks: Mapping[str, Check] = CHECKS
    ) -> list[Finding]:
        report = self.report(with_dagster=with_dagster, run=run, checks=checks)
        return [finding for check in report.checks for finding in check.findings]


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    folder = tmp_path_factory.mktemp("honest")
    database = Database(f"sqlite:///{folder / 'landscape.db'}")
    database.ensure_schema()
    made = honest_run(database, folder)
    with closing(sqlite3.connect(folder / "landscape.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    seals = [WitnessedSeal(run, node, seal.seal_hash.hex()) for run, node, seal in made.seals]
    witness = Witness(
        seals=tuple(seals),
        ends={RUN_ID: RunStatus.FAILED, SECOND: RunStatus.COMPLETED},
        succeeded=frozenset((run, node) for run, node, _ in made.seals),
    )
    return Honest(folder / "landscape.db", witness)


@pytest.fixture
def copy(honest: Honest, tmp_path: Path) -> Copy:
    target = tmp_path / "copy.db"
    shutil.copy(honest.path, target)
    return Copy(target, honest.witness)


@pytest.fixture
def timezone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Moves this process to another time zone, and back at the end."""
    import time  # noqa: PLC0415 - only this fixture's

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()
