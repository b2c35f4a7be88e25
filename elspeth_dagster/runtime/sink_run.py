"""Run a sink: write every row that reached it, make the file durable, then record states, outcomes and the artifact.

A sink is always written whole, from all tokens at its ports: a resume after a crash in the middle of the recording
makes the same file or table again and records what is missing. Nothing half, no lost row, no double row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from elspeth_dagster.files import Artifact, RowWriter
from elspeth_dagster.files.typed import Shape
from elspeth_dagster.landscape.queries import error_details, violations_of
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import parsed
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT, Outcome, StateStatus
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.sink import ERROR_FIELD, SinkConfig, WrittenBy
from elspeth_dagster.pipeline.column_types import column_types
from elspeth_dagster.runtime.recording import Settled, final_state, outcome_record
from elspeth_dagster.runtime.work import Work, pages


def run_sink(work: Work, config: SinkConfig) -> Artifact:
    """Write all that came to the sink, and record what it holds.

    Raises:
        SinkError: it cannot be written; nothing is recorded, and what was there before stays as it was.
    """
    work.handle.rows_total = count_waiting(work.database, work.waiting(include_done=True))
    artifact = _write(work, config)
    _record(work, artifact)
    return artifact


def written_by(work: Work) -> WrittenBy:
    """Whose rows the sink writes."""
    handle = work.handle
    return WrittenBy(
        work.pipeline.home,
        work.pipeline.name,
        work.node.node_id,
        handle.partition_key,
        handle.run_id,
        work.database.file,
    )


def _write(work: Work, config: SinkConfig) -> Artifact:
    types = _types(work) if config.needs_types() else {}
    rows = _rows(work)
    first = next(rows, None)
    columns = _columns(work, types or first)
    with config.writer(written_by(work), {name: types.get(name) for name in columns}) as writer:
        if first is not None:
            _write_rows(work, writer, chain([first], rows), columns)
        return writer.finish()


def _types(work: Work) -> dict[str, ColumnType]:
    """The types of all columns, from all rows: none of them may come as a surprise in the middle of a file."""
    hints = column_types(work.pipeline)[work.node.node_id]
    shape = Shape(hints)
    for row in _rows(work):
        shape.add(row)
    return shape.columns([*(work.node.columns_in or ()), *([ERROR_FIELD] if work.node.takes_errors else [])])


def _write_rows(work: Work, writer: RowWriter, rows: Iterator[Row], columns: list[str]) -> None:
    for row in rows:
        known = {name: row[name] for name in columns if name in row}
        writer.write(known if len(known) == len(row) else {**known, **row})
        work.handle.rows_done += 1


def _columns(work: Work, first: Iterable[str] | None) -> list[str]:
    """The order of fields: as declared along the way, then what else the first row carries, the error last.

    A row travels as canonical JSON, which sorts its fields: the declared order is put back here.
    """
    node = work.node
    names = list(node.columns_in or ())
    names += [name for name in first or () if name not in names]
    if node.takes_errors and ERROR_FIELD not in names:
        names.append(ERROR_FIELD)
    if ERROR_FIELD in names:
        names.remove(ERROR_FIELD)
        names.append(ERROR_FIELD)
    return names


def _rows(work: Work) -> Iterator[Row]:
    for page in pages(work.tokens(include_done=True), PAGE_TOKENS):
        work.check_stop()
        violations = violations_of(
            work.database, [token.row_id for token in page if token.port == INVALID_PORT and token.row_id]
        )
        details = error_details(work.database, [token for token in page if token.port == ERROR_PORT])
        for token in page:
            if token.port == INVALID_PORT:
                error: dict[str, JSON] = {
                    "code": "invalid_row",
                    "violations": violations.get(token.row_id or "", []),
                }
                yield _with_error(token, error)
            elif token.port == ERROR_PORT:
                yield _with_error(token, _failure(token, details.get(token.token_id, {})))
            else:
                row = parsed(token.body)
                assert isinstance(row, dict)  # noqa: S101 - only rows leave by these ports
                yield row


def _failure(token: Token, detail: Mapping[str, JSON]) -> dict[str, JSON]:
    evidence = json.loads(token.error_json or "{}")
    evidence.pop("detail_hash", None)
    return {"code": evidence.pop("code", None), **detail, **evidence}


def _with_error(token: Token, error: Mapping[str, JSON]) -> Row:
    """The row as it was, and beside its fields what was wrong with it."""
    row = parsed(token.body)
    fields: Row = row if isinstance(row, dict) else {"_record": row}
    told: dict[str, JSON] = {"node": token.from_node_id, "token_id": token.token_id, **error}
    if ERROR_FIELD in fields:  # the row's own, perhaps of an earlier run's error sink: kept inside
        told[ERROR_FIELD] = fields[ERROR_FIELD]
    return {**fields, ERROR_FIELD: told}


def _record(work: Work, artifact: Artifact) -> None:
    """States and outcomes of the rows that have none yet; and the artifact, in the last unit."""
    work.handle.rows_done = 0
    last = Unit()
    for page in pages(work.tokens(with_bodies=False), PAGE_TOKENS):
        work.check_stop()
        attempts = work.attempts([token.token_id for token in page])
        unit, now = Unit(), work.now()
        for token in page:
            _record_token(work, unit, token, attempts.get(token.token_id, 0) + 1, now)
        work.submit(unit)
    handle = work.handle
    last.insert(
        "artifacts",
        sealed(
            "artifacts", f"{handle.execution_id}=", handle.run_id, handle.node_id, artifact.uri,
            artifact.sha256, artifact.size_bytes, artifact.row_count, work.now(), handle.execution_id,
        ),
    )  # fmt: skip
    work.submit(last)
    work.flush()


def _record_token(work: Work, unit: Unit, token: Token, attempt: int, now: str) -> None:
    state_id = ids.state_id(token.token_id, work.node.node_id, attempt)
    settled = Settled(StateStatus.COMPLETED, None, None, None)
    unit.insert(
        "node_states",
        final_state(
            work,
            token,
            state_id,
            attempt,
            settled,
            context_json=None,
            duration_ms=0.0,
            started_at=now,
            completed_at=now,
        ),
    )
    code = json.loads(token.error_json)["code"] if token.error_json else None
    outcome = _outcome(work, token)
    unit.insert(
        "token_outcomes", outcome_record(work, token, outcome, sink=work.node.node_id, code=code, now=now)
    )
    work.tally.rows_in += 1
    work.tally.rows_out += 1
    work.tally.by_port[outcome.value] += 1
    work.handle.rows_done += 1


def _outcome(work: Work, token: Token) -> Outcome:
    if token.port == INVALID_PORT:
        return Outcome.QUARANTINED
    if token.port == ERROR_PORT or work.pipeline.nodes[token.from_node_id].kind == "gate":
        return Outcome.ROUTED
    return Outcome.COMPLETED
