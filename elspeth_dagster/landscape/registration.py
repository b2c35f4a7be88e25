"""Register a run, its attempt and its graph: once, idempotently, before the first row.

Whatever could change a decision is in each node's `config_hash`; a later attempt whose hashes differ is refused with
the difference shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import ConfigChangedError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.records import Cell, Record, Unit, closed, opened, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, parsed, plain_hash
from elspeth_dagster.model.clock import Clock, timestamp
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON


@dataclass(frozen=True, slots=True)
class NodeRegistration:
    """A node as evidence: ``config`` is what can change its decisions, with secrets by name only."""

    node_id: str
    kind: str
    determinism: str
    config: Mapping[str, JSON]
    input_columns: tuple[str, ...] | None
    output_columns: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RunRegistration:
    """A run and the attempt at it that this process belongs to.

    ``operational`` is what may differ between attempts: pools, prices, error rates.
    """

    run_id: str
    dagster_run_id: str
    pipeline: str
    partition_key: str | None
    parent_run_id: str | None
    launched_by: str | None
    spec: Mapping[str, JSON]
    operational: Mapping[str, JSON]
    versions: Mapping[str, JSON]
    host: str
    pid: int
    nodes: tuple[NodeRegistration, ...]
    edges: tuple[tuple[str, str, str], ...]


EndOf = Callable[[str], RunStatus | None]
"""Tells how the Dagster run of an id ended; None while it may still be alive."""


@patient
def register(database: Database, run: RunRegistration, *, clock: Clock, end_of: EndOf) -> str:
    """Make sure that the run, its graph and this attempt are recorded; returns the run's key.

    Raises:
        ConfigChangedError: an earlier attempt of the run decided by another configuration.
    """
    ends = {attempt: end_of(attempt) for attempt in _other_open_attempts(database, run)}
    with database.alone() as connection:
        key = _known_key(connection, run.run_id)
        if key is None:
            key = ids.run_key(run.run_id, taken=_taken_keys(connection, run.run_id))
            store(connection, _first_records(run, key, timestamp(clock.now())))
        else:
            _refuse_changes(connection, run)
        _register_attempt(connection, run, ends, timestamp(clock.now()))
    return key


def _known_key(connection: Connection, run_id: str) -> str | None:
    found = connection.execute(
        sa.select(schema.runs.c.run_key).where(schema.runs.c.run_id == run_id)
    ).scalar()
    return None if found is None else str(found)


def _taken_keys(connection: Connection, run_id: str) -> frozenset[str]:
    prefix = run_id[: ids.RUN_KEY_CHARS_MIN]
    found = connection.execute(
        sa.select(schema.runs.c.run_key).where(schema.runs.c.run_key.startswith(prefix, autoescape=True))
    )
    return frozenset(found.scalars())


def _json(value: JSON) -> str:
    return canonical_bytes(value).decode()


def _columns(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else _json(list(names))


def _first_records(run: RunRegistration, key: str, now: str) -> Unit:
    unit = Unit()
    spec = canonical_bytes(dict(run.spec))
    unit.insert(
        "runs",
        sealed(
            "runs", run.run_id, key, run.pipeline, run.parent_run_id, run.partition_key, spec.decode(),
            plain_hash(spec), _json(dict(run.versions)), run.launched_by, now,
        ),
    )  # fmt: skip
    for sequence, node in enumerate(run.nodes):
        config = canonical_bytes(dict(node.config))
        unit.insert(
            "nodes",
            sealed(
                "nodes", run.run_id, node.node_id, node.kind, node.determinism, config.decode(), plain_hash(config),
                sequence, _columns(node.input_columns), _columns(node.output_columns),
            ),
        )  # fmt: skip
    for from_node, port, to_node in run.edges:
        unit.insert("edges", sealed("edges", run.run_id, from_node, port, to_node))
    return unit


def _refuse_changes(connection: Connection, run: RunRegistration) -> None:
    table = schema.nodes
    found = connection.execute(
        sa.select(table.c.node_id, table.c.kind, table.c.config_json).where(table.c.run_id == run.run_id)
    )
    before = {node_id: _decision(kind, config.encode()) for node_id, kind, config in found}
    after = {node.node_id: _decision(node.kind, canonical_bytes(dict(node.config))) for node in run.nodes}
    differences = [*_differences(before, after), *_edge_differences(connection, run)]
    if differences:
        raise ConfigChangedError(
            "The declaration changed since this run began: " + "; ".join(differences[:5]),
            where=f"run {run.run_id}",
            hint="restore the declaration to resume this run, or launch a new run",
        )


def _edge_differences(connection: Connection, run: RunRegistration) -> list[str]:
    table = schema.edges
    found = connection.execute(
        sa.select(table.c.from_node_id, table.c.port, table.c.to_node_id).where(table.c.run_id == run.run_id)
    )
    before, after = {(str(one), str(port), str(other)) for one, port, other in found}, set(run.edges)
    said = [f"{one}.{port} -> {other} is new" for one, port, other in sorted(after - before)]
    return said + [f"{one}.{port} -> {other} is gone" for one, port, other in sorted(before - after)]


def _decision(kind: str, config: bytes) -> Mapping[str, JSON]:
    found = parsed(config)
    assert isinstance(found, dict)  # noqa: S101 - every node's configuration is an object
    return {"kind": kind, **found}


def _differences(
    before: Mapping[str, Mapping[str, JSON]], after: Mapping[str, Mapping[str, JSON]]
) -> list[str]:
    found = [f"node {name!r} is new" for name in after if name not in before]
    found += [f"node {name!r} is gone" for name in before if name not in after]
    for name in (name for name in after if name in before):
        old, new = _flat(name, dict(before[name])), _flat(name, dict(after[name]))
        for place in sorted(old.keys() | new.keys()):
            was, now = old.get(place), new.get(place)
            if _json(was) != _json(now):  # as it is hashed: true is not 1
                found.append(f"{place} was {_shortened(was)}, is {_shortened(now)}")
    return found


def _flat(place: str, value: JSON) -> dict[str, JSON]:
    """Each value with the path that leads to it: ``judge.model.base_url``."""
    if not isinstance(value, dict) or not value:
        return {place: value}
    return {
        inner: leaf for key, part in value.items() for inner, leaf in _flat(f"{place}.{key}", part).items()
    }


def _shortened(value: JSON, chars_max: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= chars_max else f"{text[:chars_max]}..."


# Attempts -----------------------------------------------------------------------------------------------------------


def _other_open_attempts(database: Database, run: RunRegistration) -> list[str]:
    table = schema.run_attempts
    with database.read() as connection:
        found = connection.execute(
            sa.select(table.c.dagster_run_id).where(
                table.c.run_id == run.run_id,
                table.c.dagster_run_id != run.dagster_run_id,
                table.c.status == RunStatus.RUNNING,
            )
        )
        return list(found.scalars())


def _register_attempt(
    connection: Connection, run: RunRegistration, ends: Mapping[str, RunStatus | None], now: str
) -> None:
    """Open this attempt and close those that ended; what may still live is closed by whoever takes its lease."""
    table = schema.run_attempts
    attempts = list(connection.execute(sa.select(table).where(table.c.run_id == run.run_id)))
    if any(attempt.dagster_run_id == run.dagster_run_id for attempt in attempts):
        return
    unit = Unit()
    for attempt in attempts:
        end = ends.get(attempt.dagster_run_id)
        if attempt.status == RunStatus.RUNNING and end is not None:
            unit.close("run_attempts", closed_attempt(attempt, end, "followed by another attempt", None, now))
    unit.insert(
        "run_attempts",
        opened(
            run.run_id, run.dagster_run_id, len(attempts) + 1, RunStatus.RUNNING.value, run.host, run.pid,
            _json(dict(run.operational)), now, None, None, None,
        ),
    )  # fmt: skip
    store(connection, unit)


@patient
def close_attempt(
    database: Database,
    *,
    run_id: str,
    dagster_run_id: str,
    status: RunStatus,
    reason: str,
    counts: Mapping[str, JSON] | None,
    clock: Clock,
) -> None:
    """Close an attempt, unless it is closed already."""
    table = schema.run_attempts
    with database.alone() as connection:
        found = connection.execute(
            sa.select(table).where(table.c.run_id == run_id, table.c.dagster_run_id == dagster_run_id)
        ).first()
        if found is None or found.status != RunStatus.RUNNING:
            return
        unit = Unit()
        unit.close("run_attempts", closed_attempt(found, status, reason, counts, timestamp(clock.now())))
        store(connection, unit)


def closed_attempt(
    record: Sequence[Cell], status: RunStatus, reason: str, counts: Mapping[str, JSON] | None, now: str
) -> Record:
    """The final form of an open attempt."""
    return closed(
        "run_attempts",
        record,
        status=status.value,
        ended_at=now,
        end_reason=reason,
        counts_json=None if counts is None else _json(dict(counts)),
    )
