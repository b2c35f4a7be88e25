"""Evidence is what was written: every closed record still has the hash of its own columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.model.canonical import record_hash

_THROUGH = {
    "calls": "state_id",
    "routing_events": "state_id",
    "token_parents": "token_id",
    "batch_members": "batch_id",
    "batch_outputs": "batch_id",
}
"""Tables that know their run by the record that this column names."""


def record_hashes(examined: Examined) -> Iterator[Finding]:
    """Recompute the hash of every closed record of the run, table by table."""
    for table in schema.EVIDENCE:
        yield from _table(examined, table)


def _table(examined: Examined, table: Table) -> Iterator[Finding]:
    keys = [index for index, column in enumerate(table.columns) if column.primary_key]
    with examined.database.read() as connection:
        for record in connection.execute(records_of(examined.run.run_id, table)):
            cells, kept = record[:-1], record[-1]
            if kept is None:
                continue  # open: another check's business
            examined.counts["records"] += 1
            if record_hash(table.name, cells) != kept:
                key = ", ".join(str(cells[index]) for index in keys)
                yield Finding(
                    "record_hash", table.name, key, "The record is not what was written: its hash differs."
                )


def records_of(run_id: str, table: Table) -> sa.Select[*tuple[Any, ...]]:
    """Every record of a run in one evidence table, a page in memory at a time."""
    question = sa.select(table)
    if table.name in _THROUGH:
        (key,) = table.c[_THROUGH[table.name]].foreign_keys
        owner = key.column.table
        question = question.join(owner, key.column == key.parent).where(owner.c.run_id == run_id)
    else:
        question = question.where(table.c.run_id == run_id)
    return question.execution_options(yield_per=PAGE)


def nothing_open(examined: Examined) -> Iterator[Finding]:
    """A finished run has no open execution, state or call."""
    if not examined.is_finished:
        return
    for name in ("node_executions", "node_states", "calls"):
        table = schema.metadata.tables[name]
        (key,) = table.primary_key.columns
        question = records_of(examined.run.run_id, table).where(table.c.status == "open")
        with examined.database.read() as connection:
            for record in connection.execute(question):
                what = "The record is still open, though its run is finished."
                yield Finding("nothing_open", name, str(getattr(record, key.name)), what)
        closed = records_of(examined.run.run_id, table).where(
            table.c.status != "open", table.c.record_hash.is_(None)
        )
        with examined.database.read() as connection:
            for record in connection.execute(closed):
                what = "The record is closed, but has no hash."
                yield Finding("nothing_open", name, str(getattr(record, key.name)), what)
