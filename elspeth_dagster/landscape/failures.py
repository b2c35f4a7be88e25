"""The failed rows of a run, grouped by node and code, with examples."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.bodies import parsed_body
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.queries import payload_body
from elspeth_dagster.landscape.schema import edges, node_states, nodes, rows, tokens, validation_errors
from elspeth_dagster.landscape.status import LATE_ARRIVAL
from elspeth_dagster.landscape.violation_words import violation_words
from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT

EXAMPLES_MAX: Final = 3  # enough to see whether they are alike
PAGE: Final = 1_000  # records in memory at a time
VALUE_CHARS_MAX: Final = 60  # of a value that did not fit: enough to see why


@dataclass(frozen=True, slots=True)
class Example:
    """One failed row: what to ask for, and what was said about it (None: nothing was kept, or it was purged)."""

    token_id: str
    row_index: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rows that failed at one node for one reason.

    ``went_to`` is a sink; None: they end there, kept as failed or, where ``is_discarded``, as their declaration says.
    ``is_late``: they came to a join that was decided, which is part of its policy and no failure of the run.
    """

    node_id: str
    code: str
    count: int
    went_to: str | None
    is_quarantine: bool
    is_discarded: bool
    examples: tuple[Example, ...]
    is_late: bool = False


@dataclass(slots=True)
class _Counted:
    count: int
    examples: list[Example]


def failure_groups(database: Database, run_id: str) -> tuple[FailureGroup, ...]:
    """Every failure of the run, quarantined source rows too; in the pipeline's order, the frequent ones first."""
    with database.read() as connection:
        known = connection.execute(
            sa.select(nodes.c.node_id, nodes.c.sequence, nodes.c.config_json).where(nodes.c.run_id == run_id)
        ).all()
        order = {found.node_id: found.sequence for found in known}
        discarding = {found.node_id for found in known if _discards(found.config_json)}
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
            node,
            code,
            found.count,
            None if code == LATE_ARRIVAL else takers.get((node, port)),
            is_quarantine=port == INVALID_PORT,
            is_discarded=node in discarding and code != LATE_ARRIVAL,
            examples=tuple(found.examples),
            is_late=code == LATE_ARRIVAL,
        )
        for port, counted in ((INVALID_PORT, quarantined), (ERROR_PORT, failed))
        for (node, code), found in counted.items()
    ]
    return tuple(sorted(groups, key=lambda group: (order.get(group.node_id, 0), -group.count, group.code)))


def _discards(config_json: str) -> bool:
    config = json.loads(config_json)
    return "discard" in {config.get("on_error"), config.get("on_invalid")}


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
    wanted: list[tuple[_Counted, int, str | None]] = []
    for node_id, row_id, row_index, code, field, expected, actual in connection.execute(question):
        group = counted.setdefault((node_id, code), _Counted(0, []))
        group.count += 1
        if group.count <= EXAMPLES_MAX:
            said = f"{field or 'the record'} {violation_words(code, expected, actual)}"
            group.examples.append(Example(row_id, row_index, said))
            wanted.append((group, len(group.examples) - 1, field))
    for group, at, field in wanted:
        example = group.examples[at]
        value = _value_of(connection, example.token_id, field)
        if value is not None:
            group.examples[at] = replace(example, message=f"{example.message}: {value}")
    return counted


def _value_of(connection: Connection, row_id: str, field: str | None) -> str | None:
    """What the source had in a field, as JSON, cut; None where it had nothing, or it was purged."""
    if field is None:
        return None
    digest = connection.execute(sa.select(rows.c.data_hash).where(rows.c.row_id == row_id)).scalar_one()
    body = payload_body(connection, row_id, digest)
    row = None if body is None else parsed_body(body)
    if not isinstance(row, dict) or field not in row:
        return None
    said = json.dumps(row[field], ensure_ascii=False)
    return said if len(said) <= VALUE_CHARS_MAX else f"{said[:VALUE_CHARS_MAX]}..."
