"""Evidence is what was written: every closed record still has the hash of its own columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Table

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.evidence import records_of
from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.scope import calls_of
from elspeth_dagster.model.canonical import record_hash


def record_hashes(examined: Examined) -> Iterator[Finding]:
    """Recompute the hash of every closed record of the run, table by table."""
    for table in schema.EVIDENCE:
        yield from _table(examined, table)


def _table(examined: Examined, table: Table) -> Iterator[Finding]:
    keys = [index for index, column in enumerate(table.columns) if column.primary_key]
    columns = table.columns.keys()
    execution = columns.index("execution_id") if "execution_id" in columns else None
    status = columns.index("status") if table.name in schema.OPEN_STATUS else None
    with examined.database.read() as connection:
        for record in connection.execute(records_of(examined.run.run_id, table)):
            cells, kept = record[:-1], record[-1]
            if kept is None:
                if status is not None and cells[status] != schema.OPEN_STATUS[table.name]:
                    yield Finding(
                        "record_hash", table.name, _key(cells, keys), "It is closed, but has no hash."
                    )
                continue  # open: another check's business
            examined.counts["records"] += 1
            if execution is not None:
                examined.of_executions[table.name, cells[execution]] += 1
            if record_hash(table.name, cells) != kept:
                what = "The record is not what was written: its hash differs."
                yield Finding("record_hash", table.name, _key(cells, keys), what)


def _key(cells: Sequence[object], keys: Sequence[int]) -> str:
    return ", ".join(str(cells[index]) for index in keys)


def nothing_open(examined: Examined) -> Iterator[Finding]:
    """A finished run has no open execution, state or call."""
    if not examined.is_finished:
        return
    for name in ("node_executions", "node_states", "calls", "batches"):
        table = schema.metadata.tables[name]
        run_id = examined.run.run_id
        of_run = calls_of(run_id) if name == "calls" else table.c.run_id == run_id
        question = sa.select(*table.primary_key.columns).where(
            of_run, table.c.status == schema.OPEN_STATUS[name]
        )
        yield from each(
            examined,
            question,
            check="nothing_open",
            table=name,
            what=lambda _: "The record is still open, though its run is finished.",
        )
