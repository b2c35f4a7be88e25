"""The failed rows of a run, grouped by node and code, with examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.queries import payload_body
from elspeth_dagster.landscape.schema import edges, node_states, nodes, rows, tokens, validation_errors
from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT

EXAMPLES_MAX: Final = 3  # enough to see whether they are alike
PAGE: Final = 1_000  # records in memory at a time


@dataclass(frozen=True, slots=True)
class Example:
    """One failed row: what to ask for, and what was said about it (None: nothing was kept, or it was purged)."""

    token_id: str
    row_index: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rows that failed at one node for one reason. ``went_to`` is a sink; None: they end there."""

    node_id: str
    code: str
    count: int
    went_to: str | None
    is_quarantine: bool
    examples: tuple[Example, ...]


@dataclass(slots=True)
class _Counted:
    count: int
    examples: list[Example]


def failure_groups(database: Database, run_id: str) -> tuple[FailureGroup, ...]:
    """Every failure of the run, quarantined source rows too; in the pipeline's order, the frequent ones first."""
    with database.read() as connection:
        sequences = sa.select(nodes.c.node_id, nodes.c.sequence).where(nodes.c.run_id == run_id)
        order = {found.node_id: found.sequence for found in connection.execute(sequences)}
        takers = {
            (node_id, port): sink
            for node_id, port, sink in connection.execute(
                sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(
                    edges.c.run_id == run_id, edges.c.port.in_((ERROR_PORT, INVALID_PORT))
                )
            )
        }
        failed = _failed_states(connection, run_id)
        quarantined = _quarantined(connection, run_id)
    groups = [
        FailureGroup(
            node, code, found.count, takers.get((node, port)), port == INVALID_PORT, tuple(found.examples)
        )
        for port, counted in ((INVALID_PORT, quarantined), (ERROR_PORT, failed))
        for (node, code), found in counted.items()
    ]
    return tuple(sorted(groups, key=lambda group: (order.get(group.node_id, 0), -group.count, group.code)))


def _failed_states(connection: Connection, run_id: str) -> dict[tuple[str, str], _Counted]:
    states = node_states
    question = (
        sa.select(states.c.node_id, states.c.error_json, states.c.token_id)
        .where(states.c.run_id == run_id, states.c.status == "failed", states.c.input_hash.is_not(None))
        .order_by(states.c.node_id, states.c.order_key)
        .execution_options(yield_per=PAGE)
    )
    counted: dict[tuple[str, str], _Counted] = {}
    wanted: list[tuple[_Counted, str, str | None]] = []
    for node_id, error_json, token_id in connection.execute(question):
        error = json.loads(error_json or "{}")
        group = counted.setdefault((node_id, str(error.get("code", "unknown"))), _Counted(0, []))
        group.count += 1
        if group.count <= EXAMPLES_MAX:
            wanted.append((group, token_id, error.get("detail_hash")))
    for group, token_id, detail_hash in wanted:
        group.examples.append(_example(connection, token_id, detail_hash))
    return counted


def _example(connection: Connection, token_id: str, detail_hash: str | None) -> Example:
    question = (
        sa.select(tokens.c.salt_id, rows.c.row_index)
        .select_from(tokens.outerjoin(rows, rows.c.row_id == tokens.c.row_id))
        .where(tokens.c.token_id == token_id)
    )
    salt_id, row_index = connection.execute(question).one()
    body = None if detail_hash is None else payload_body(connection, salt_id, bytes.fromhex(detail_hash))
    message = None if body is None else json.loads(body).get("message")
    return Example(token_id, row_index, message)


def _quarantined(connection: Connection, run_id: str) -> dict[tuple[str, str], _Counted]:
    """Quarantined rows by the first thing that was wrong with each."""
    errors = validation_errors
    question = (
        sa.select(
            rows.c.source_node_id, rows.c.row_id, rows.c.row_index, errors.c.code, errors.c.field,
            errors.c.expected, errors.c.actual_type,
        )
        .join(rows, rows.c.row_id == errors.c.row_id)
        .where(errors.c.run_id == run_id, errors.c.error_id.endswith("?0", autoescape=True))
        .order_by(rows.c.source_node_id, rows.c.row_index)
        .execution_options(yield_per=PAGE)
    )  # fmt: skip
    counted: dict[tuple[str, str], _Counted] = {}
    for node_id, row_id, row_index, code, field, expected, actual in connection.execute(question):
        group = counted.setdefault((node_id, code), _Counted(0, []))
        group.count += 1
        if group.count <= EXAMPLES_MAX:
            seen = "nothing" if code == "missing_field" else actual
            said = f"{field or 'the record'}: expected {expected}, found {seen}"
            group.examples.append(Example(row_id, row_index, said))
    return counted
