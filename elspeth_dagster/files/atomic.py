"""Files that are there whole or not at all.

A file is written under a hidden name in its target's folder, made durable, and only then renamed to the target: a crash
at any moment leaves what was there before. The writer holds a lock on its hidden file as long as it lives, so whatever
it leaves behind when it is killed is known to be dead, also where process numbers repeat (containers), and is removed
by the next writer of the same target. Two writers of one target do not meet: the last to commit wins, whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from elspeth_dagster.errors import SinkError
from elspeth_dagster.model.clock import new_id

BUFFER_BYTES = 256 * 1024
"""Few system calls for small rows, little memory."""

NAME_BYTES_MAX = 180
"""How much of the target's name the hidden name repeats: file systems hold 255 bytes, and the rest needs its room."""

_LOCK_ATTEMPTS_MAX = 10
"""Losing a new file to another writer's cleaning takes a narrow race; ten in a row is something else."""


class AtomicFile:
    """A file that appears at ``path`` when it is committed, and not before. Folders above it are made.

    As a context manager it commits nothing by itself: leaving it without ``commit`` (an exception included) removes
    what was written. ``sha256`` and ``size_bytes`` are those of everything written so far.

    Raises:
        SinkError: from any method, when the target cannot be written; the old target is then untouched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._buffer = io.BytesIO()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError
            _remove_leftovers(path)
            self._temporary, self._descriptor = _locked_file(path)
        except OSError as error:
            raise sink_error(error, path) from error
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def is_open(self) -> bool:
        """Whether it was neither committed nor aborted."""
        return self._open

    @property
    def sha256(self) -> bytes:
        """The digest of everything written so far."""
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        if not self._open:
            raise ValueError("the file is committed or aborted already")
        self._hash.update(data)
        self.size_bytes += len(data)
        self._buffer.write(data)
        if self._buffer.tell() >= BUFFER_BYTES:
            try:
                self._flush()
            except OSError as error:
                self.abort()
                raise sink_error(error, self.path) from error

    def commit(self) -> None:
        """Make the file durable under its own name: after this, a crash of the machine does not undo it."""
        if not self._open:
            raise ValueError("the file is committed or aborted already")
        try:
            self._flush()
            _keep_mode(self._descriptor, self.path)
            os.fsync(self._descriptor)
            self._temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            self.abort()
            raise sink_error(error, self.path) from error
        self._close()

    def abort(self) -> None:
        """Remove what was written and leave the target as it was. After ``commit``, nothing."""
        if self._open:
            with suppress(OSError):  # the next writer of this target removes it
                self._temporary.unlink(missing_ok=True)
            self._close()

    def _flush(self) -> None:
        left = self._buffer.getbuffer()
        written = 0
        try:
            while written < len(left):
                written += os.write(self._descriptor, left[written:])
        finally:
            left.release()
        self._buffer = io.BytesIO()

    def _close(self) -> None:
        self._open = False
        os.close(self._descriptor)  # gives the lock up


def sink_error(error: OSError, path: Path) -> SinkError:
    """What ``error`` means for whoever declared this sink."""
    where = str(path)
    if isinstance(error, IsADirectoryError):
        return SinkError("The sink's path is a folder.", where=where, hint="name a file in it")
    if isinstance(error, NotADirectoryError | FileExistsError):
        hint = "a part of the path above the file is a file itself: choose another path"
        return SinkError("The sink's folder is not a folder.", where=where, hint=hint)
    if isinstance(error, PermissionError):
        hint = "give the user that runs Dagster the right to write there"
        return SinkError("The sink's folder must not be written: permission denied.", where=where, hint=hint)
    what = f"The sink cannot be written: {error.strerror or type(error).__name__}."
    return SinkError(what, where=where, hint="check the path and the room on the disk, then resume")


def _prefix(path: Path) -> str:
    return "." + path.name.encode()[:NAME_BYTES_MAX].decode(errors="ignore")


def _locked_file(path: Path) -> tuple[Path, int]:
    """A new hidden file, locked. Another writer may clean it away before the lock is held: then another one."""
    for _ in range(_LOCK_ATTEMPTS_MAX):
        temporary = path.with_name(f"{_prefix(path)}.{os.getpid()}-{new_id()[:12]}.part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(
            OSError
        ):  # a file system without locks: leftovers there are not cleaned, and no live file is either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)
    raise BlockingIOError


def _remove_leftovers(path: Path) -> None:
    """Remove the hidden files of this target whose writers are dead: nobody holds their lock."""
    ours = re.compile(re.escape(_prefix(path)) + r"\.[0-9]+-[0-9a-f]{12}\.part")
    with os.scandir(path.parent) as entries:
        found = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]
    for leftover in found:
        with suppress(OSError):  # another writer was faster, or it is alive
            _remove_unlocked(leftover)


def _remove_unlocked(leftover: Path) -> None:
    descriptor = os.open(leftover, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()
    finally:
        os.close(descriptor)


def _keep_mode(descriptor: int, path: Path) -> None:
    """Give the new file the rights of the one that it replaces."""
    with suppress(FileNotFoundError):
        os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename durable: it is a change of the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
