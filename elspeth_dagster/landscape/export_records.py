"""Everything about one run, table by table, as plain JSON records: a few in memory at a time.

Columns keep their names. Hashes are hexadecimal, JSON columns are JSON, and beside the hash of a body stands the body,
unless it was purged: `data` of a row, `output` and `error_detail` of a state, `request`, `response` and `error_detail`
of a call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.bodies import parsed_body
from elspeth_dagster.landscape.export_bodies import exact_body
from elspeth_dagster.landscape.queries import payload_body
from elspeth_dagster.model.row import JSON

PAGE: Final = 500  # records in memory at a time
PAGE_WITH_BODIES: Final = 20  # of those that carry up to two bodies of up to 1 MiB each

TABLES: Final[tuple[sa.Table, ...]] = (*schema.EVIDENCE, schema.row_salts, schema.payloads, schema.purges)
"""What is exported. Request keys, leases, fences and the like say nothing about what happened."""

BODIES: Final[Mapping[str, Mapping[str, str]]] = {
    "rows": {"data": "data_hash"},
    "node_states": {"output": "output_hash"},
    "calls": {"request": "request_hash", "response": "response_hash"},
}
"""Bodies that are put beside their hashes: the record's new key, and the column of the hash."""

WITH_ERRORS: Final = frozenset({"node_states", "calls"})
Record = dict[str, JSON]
Found = sa.Row[*tuple[Any, ...]]


def records_of_run(connection: Connection, run_id: str, table: sa.Table) -> Iterator[Record]:
    """The records of a run in one table, in key order."""
    has_bodies = table.name in BODIES or table is schema.payloads
    page = PAGE_WITH_BODIES if has_bodies else PAGE
    question = _question(run_id, table).execution_options(yield_per=page)
    for found in connection.execute(question):
        yield _record(connection, table, found)


def column_names(table: sa.Table) -> tuple[str, ...]:
    """The keys of a table's records, in order."""
    names = [column.name for column in table.columns]
    if table.name == "payloads":
        names = [*names[:-1], "encoding", "body"]
    extra = [*BODIES.get(table.name, ()), *(("error_detail",) if table.name in WITH_ERRORS else ())]
    return (*names, *extra)


def _question(run_id: str, table: sa.Table) -> sa.Select[*tuple[Any, ...]]:
    """The table's columns, the salt's id, and the bodies."""
    keys = table.primary_key.columns
    if table.name in {"payloads", "row_salts"}:
        return sa.select(table).where(table.c.salt_id.in_(_salts(run_id))).order_by(*keys)
    source, of_run = _of_run(run_id, table)
    columns: list[sa.ColumnElement[Any]] = list(table.columns)
    if table.name in BODIES:
        owner = schema.rows.c.row_id if table is schema.rows else schema.node_states.c.token_id
        source = source.join(schema.tokens, schema.tokens.c.token_id == owner)
        columns.append(schema.tokens.c.salt_id.label("_salt_id"))
        for key, digest in BODIES[table.name].items():
            bodies = schema.payloads.alias(f"payloads_{key}")
            source = source.outerjoin(
                bodies,
                sa.and_(
                    bodies.c.salt_id == schema.tokens.c.salt_id, bodies.c.content_hash == table.c[digest]
                ),
            )
            columns.append(bodies.c.body.label(f"_{key}"))
    return sa.select(*columns).select_from(source).where(of_run).order_by(*keys)


def _of_run(run_id: str, table: sa.Table) -> tuple[sa.FromClause, sa.ColumnElement[bool]]:
    """Where a table's records of a run are found."""
    if "run_id" in table.c:
        return table, table.c.run_id == run_id
    through = {
        "calls": (schema.node_states, "state_id"),
        "routing_events": (schema.node_states, "state_id"),
        "token_parents": (schema.tokens, "token_id"),
        "batch_members": (schema.batches, "batch_id"),
        "batch_outputs": (schema.batches, "batch_id"),
    }
    other, key = through[table.name]
    return table.join(other, other.c[key] == table.c[key]), other.c.run_id == run_id


def _salts(run_id: str) -> sa.CompoundSelect[str]:
    """The run's own salts, and those of tokens that it adopted from earlier runs."""
    own = sa.select(schema.row_salts.c.salt_id).where(schema.row_salts.c.run_id == run_id)
    used = sa.select(schema.tokens.c.salt_id).where(schema.tokens.c.run_id == run_id)
    return own.union(used)


def _record(connection: Connection, table: sa.Table, found: Found) -> Record:
    record: Record = {column.name: _cell(column.name, found[at]) for at, column in enumerate(table.columns)}
    if table.name == "payloads":
        record["encoding"], record["body"] = exact_body(bytes(found.body))
        return record
    extras = found._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    for key in BODIES.get(table.name, ()):
        body = extras[f"_{key}"]
        record[key] = None if body is None else parsed_body(bytes(body))
    if table.name in WITH_ERRORS:
        record["error_detail"] = _error_detail(connection, extras["_salt_id"], record["error_json"])
    return record


def _cell(name: str, value: Any) -> JSON:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if name.endswith("_json") and value is not None:
        parsed: JSON = json.loads(value)
        return parsed
    plain: JSON = value
    return plain


def _error_detail(connection: Connection, salt_id: str, error: JSON) -> JSON:
    """The message and details of an error, which are kept apart from the evidence about it."""
    digest = error.get("detail_hash") if isinstance(error, dict) else None
    if not isinstance(digest, str):
        return None
    body = payload_body(connection, salt_id, bytes.fromhex(digest))
    return None if body is None else parsed_body(body)
