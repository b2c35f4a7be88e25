"""An honest database stays clean however it was copied, packed or read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from tests.evidence.conftest import NOW, Copy
from tests.evidence.honest import RUN_ID, honest_run
from tests.postgres import Postgres


def test_after_vacuum(copy: Copy) -> None:
    with closing(sqlite3.connect(copy.path)) as connection:
        connection.execute("VACUUM")
    assert copy.findings() == []


def test_after_dump_and_restore(copy: Copy, tmp_path: Path) -> None:
    restored = tmp_path / "restored.db"
    with closing(sqlite3.connect(copy.path)) as source, closing(sqlite3.connect(restored)) as target:
        target.executescript("\n".join(source.iterdump()))
    assert replace(copy, path=restored).findings() == []


def test_after_an_online_backup(copy: Copy, tmp_path: Path) -> None:
    restored = tmp_path / "restored.db"
    with closing(sqlite3.connect(copy.path)) as source, closing(sqlite3.connect(restored)) as target:
        source.backup(target)
    assert replace(copy, path=restored).findings() == []


@pytest.mark.parametrize("name", ["Pacific/Auckland", "America/St_Johns"])
def test_in_another_time_zone(copy: Copy, timezone: Callable[[str], None], name: str) -> None:
    timezone(name)
    assert copy.findings() == []


def _copied(source: Database, target: Database) -> None:
    """Every record of every table, as a person would move them with SQLAlchemy."""
    with source.read() as reading, target.write() as writing:
        for table in schema.metadata.sorted_tables:
            found = [dict(record) for record in reading.execute(sa.select(table)).mappings()]
            if found:
                writing.execute(sa.insert(table), found)


def test_copied_from_sqlite_to_postgresql_and_back(copy: Copy, postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.ready()
    moved, back = Database(url), Database(f"sqlite:///{tmp_path / 'back.db'}")
    try:
        _copied(copy.database, moved)
        report = verify_run(moved, find_run(moved, RUN_ID), now=NOW, witness=copy.witness)
        assert [finding for check in report.checks for finding in check.findings] == []
        assert report.counts["seals"] == 12
        back.ensure_schema()
        _copied(moved, back)
        again = verify_run(back, find_run(back, RUN_ID), now=NOW, witness=copy.witness)
        assert again.is_clean
        assert dict(again.counts) == dict(report.counts)
    finally:
        moved.dispose()
        back.dispose()
        postgres.take_back(url)


def test_a_run_recorded_on_postgresql_has_the_seals_that_it_has_on_sqlite(
    copy: Copy, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.ready()
    database = Database(url)
    try:
        made = honest_run(database, tmp_path)
        report = verify_run(database, find_run(database, RUN_ID), now=NOW)
        assert [finding for check in report.checks for finding in check.findings] == []
        with database.read() as connection:
            counts = connection.execute(
                sa.select(schema.seals.c.counts_json).order_by(schema.seals.c.sequence)
            ).scalars()
            here = [json.loads(text) for text in counts]
        with copy.database.read() as connection:
            there = connection.execute(
                sa.select(schema.seals.c.counts_json).order_by(schema.seals.c.sequence)
            ).scalars()
            assert here == [json.loads(text) for text in there]
        # The same records, but for the paths of the sinks' files: the roots of the others are the same bytes.
        same = {name for _, name, _ in made.seals} - {"urgent", "totals", "failures", "bad"}
        assert _roots(database, same) == _roots(copy.database, same)
    finally:
        database.dispose()
        postgres.take_back(url)


def _roots(database: Database, nodes: set[str]) -> dict[str, bytes]:
    seals, executions = schema.seals, schema.node_executions
    question = sa.select(executions.c.node_id, seals.c.merkle_root).join(
        seals, seals.c.execution_id == executions.c.execution_id
    )
    with database.read() as connection:
        return {node: bytes(root) for node, root in connection.execute(question) if node in nodes}
