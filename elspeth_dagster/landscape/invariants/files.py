"""What a sink wrote is all that came to it, and still what it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.tables import compare_table
from elspeth_dagster.landscape.schema import artifacts, node_executions, node_states, token_outcomes
from elspeth_dagster.tables.uri import parsed_uri

CHUNK_BYTES: Final = 1024 * 1024  # files of any size are read in pieces


def sink_files(examined: Examined) -> Iterator[Finding]:
    """The file or table of every artifact that no later run has written over has the recorded content."""
    latest = sa.select(artifacts.c.uri, sa.func.max(artifacts.c.created_at).label("at")).group_by(
        artifacts.c.uri
    )
    last = latest.subquery()
    question = (
        sa.select(artifacts)
        .join(last, sa.and_(last.c.uri == artifacts.c.uri, last.c.at == artifacts.c.created_at))
        .where(artifacts.c.run_id == examined.run.run_id)
        .order_by(artifacts.c.artifact_id)
    )
    with examined.database.read() as connection:
        found = connection.execute(question).all()
        total = connection.execute(
            sa.select(sa.func.count(artifacts.c.uri.distinct())).where(
                artifacts.c.run_id == examined.run.run_id
            )
        ).scalar_one()
    if total > len(found):
        examined.notes.append(
            f"{total - len(found)} files or tables were written again by later runs: not compared."
        )
    for artifact in found:
        if (table := parsed_uri(artifact.uri)) is not None:
            yield from compare_table(examined, artifact, table)
            continue
        path = file_of(artifact.uri)
        if path is None:
            continue
        if not path.is_file():
            examined.notes.append(f"{path} is not there any more: not compared.")
            continue
        examined.counts["files"] += 1
        size, digest = _hashed(path)
        if digest != artifact.content_hash:
            what = f"{path} is not what the sink wrote: {size} bytes now, {artifact.size_bytes} then."
            yield Finding("sink_file", "artifacts", artifact.artifact_id, what)


def sinks_reconcile(examined: Examined) -> Iterator[Finding]:
    """The latest artifact of a sink has as many rows as tokens were finished and ended there."""
    executions = node_executions
    of_sink = (artifacts.c.execution_id == executions.c.execution_id, executions.c.status == "completed")
    question = (
        sa.select(artifacts.c.artifact_id, artifacts.c.node_id, artifacts.c.row_count)
        .join(executions, sa.and_(*of_sink))
        .where(artifacts.c.run_id == examined.run.run_id)
        .order_by(artifacts.c.node_id, executions.c.attempt)
    )
    with examined.database.read() as connection:
        latest = {found.node_id: found for found in connection.execute(question)}
        for node_id, artifact in latest.items():
            finished, ended = (
                connection.execute(counted).scalar_one() for counted in _at_sink(examined, node_id)
            )
            if not artifact.row_count == finished == ended:
                what = (
                    f"It has {artifact.row_count:,} rows; {finished:,} tokens were finished at {node_id!r}, "
                    f"and {ended:,} ended there."
                )
                yield Finding("sinks_reconcile", "artifacts", artifact.artifact_id, what)
        written = (
            sa.select(token_outcomes.c.sink)
            .distinct()
            .where(token_outcomes.c.run_id == examined.run.run_id, token_outcomes.c.sink.is_not(None))
        )
        for sink in (
            set(connection.execute(written).scalars()) - latest.keys() if examined.is_finished else ()
        ):
            what = "Tokens ended at it, but it has no artifact."
            yield Finding("sinks_reconcile", "artifacts", f"{examined.run.run_id}, {sink}", what)


def _at_sink(examined: Examined, node_id: str) -> tuple[sa.Select[int], sa.Select[int]]:
    """How many tokens a sink finished, and how many ended there."""
    count = sa.select(sa.func.count())
    return (
        count.select_from(node_states).where(
            node_states.c.run_id == examined.run.run_id,
            node_states.c.node_id == node_id,
            node_states.c.status == "completed",
        ),
        count.select_from(token_outcomes).where(
            token_outcomes.c.run_id == examined.run.run_id, token_outcomes.c.sink == node_id
        ),
    )


def file_of(uri: str) -> Path | None:
    """The file that a URI names; None for what is no file."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _hashed(path: Path) -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.digest()
