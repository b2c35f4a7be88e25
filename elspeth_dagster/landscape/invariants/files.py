"""What a sink wrote is still what it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.schema import artifacts

CHUNK_BYTES: Final = 1024 * 1024  # files of any size are read in pieces


def sink_files(examined: Examined) -> Iterator[Finding]:
    """The file of every artifact that no later run has written over has the recorded bytes."""
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
        examined.notes.append(f"{total - len(found)} files were written again by later runs: not compared.")
    for artifact in found:
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
