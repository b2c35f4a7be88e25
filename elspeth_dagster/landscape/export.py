"""Export a run: one file a table and a manifest, in a directory that appears whole or not at all.

One read transaction gives all of it, so what is exported is the run at one moment, also of a run under way. It is
streamed: memory does not grow with the run.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from elspeth_dagster.errors import ExportError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.export_files import Format, sha256_of, writer_of
from elspeth_dagster.landscape.export_records import TABLES, records_of_run
from elspeth_dagster.landscape.purges import purges_of
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.schema import REVISION
from elspeth_dagster.model.clock import new_id

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One table's file; ``sha256`` is in hexadecimal."""

    table: str
    file: str
    records: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported where."""

    run: RunRecord
    directory: str
    format: Format
    files: tuple[ExportedFile, ...]


def export_run(database: Database, run: RunRecord, target: Path, *, form: Format, exported_at: str) -> Export:
    """Export ``run`` into the directory ``target``, which must be empty or not there.

    Raises:
        ExportError: it is neither, it cannot be written, or the format's library is missing.
    """
    write_table = writer_of(form)
    _refuse_used(target)
    partial = target.parent / f".{target.name}.{new_id()[:8]}.partial"
    try:
        _remove_leftovers(target)
        partial.mkdir(parents=True)
        with locked(partial), database.read() as connection:
            files = []
            for table in TABLES:
                path = partial / f"{table.name}.{form}"
                count = write_table(path, table, records_of_run(connection, run.run_id, table))
                size_bytes = path.stat().st_size
                files.append(ExportedFile(table.name, path.name, count, size_bytes, sha256_of(path)))
            purges = purges_of(connection, run.run_id)
        export = Export(run, str(target), form, tuple(files))
        manifest: dict[str, object] = {
            "exported_at": exported_at,
            "format": form,
            "package": version("elspeth_dagster"),
            "schema_revision": REVISION,
            "run": dataclasses.asdict(run),
            "purges": [dataclasses.asdict(one) for one in purges],
            "files": [dataclasses.asdict(one) for one in export.files],
        }
        write_manifest(partial / MANIFEST, manifest)
        _refuse_used(target)  # somebody else's export may have come there meanwhile
        partial.rename(target)  # over an empty directory too; over no other
        _sync(target.parent)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            _refuse_used(target)
        raise ExportError(
            f"The export cannot be written: {error.strerror or error}",
            where=str(target),
            hint="choose a directory that can be written, on a disk with space",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return export


def _refuse_used(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        what = "is not empty" if target.is_dir() else "is a file"
        raise ExportError(
            f"The directory to export to {what}.",
            where=str(target),
            hint="name a new or an empty directory with --out",
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: where its process is killed, whoever comes next knows by it that nobody writes there.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(target: Path) -> None:
    """What exports to this directory left when they were killed: it holds bodies, which a purge must not miss."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    found = [path for path in target.parent.glob(".*.partial") if ours.fullmatch(path.name)]
    for leftover in found:
        with suppress(OSError), locked(leftover):  # it is alive, or somebody else was faster
            shutil.rmtree(leftover, ignore_errors=True)


def write_manifest(path: Path, manifest: dict[str, object]) -> None:
    """Write it last, to disk: it says what must be there."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
