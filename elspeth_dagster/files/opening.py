"""Opening a file to read it: every reason why it cannot be is a ``SourceError`` that says what, where and what next."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from elspeth_dagster.errors import SourceError
from elspeth_dagster.model.suggest import suggest

BUFFER_BYTES = 256 * 1024
"""Large enough that reading is bound by parsing, small enough that nobody notices it."""

SIBLINGS_MAX = 1_000
"""How many names of a folder are looked at for "did you mean"."""


@contextmanager
def reading_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file, for reading bytes; closed at the end.

    Raises:
        SourceError: it is missing, a folder, a pipe or device, must not be read, or reading it fails half-way.
    """
    try:
        with _opened(path) as file:
            yield file
    except OSError as error:
        raise source_error(error, path) from error


@contextmanager
def reading_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """The file as text: line ends untouched, undecodable bytes as lone surrogates for the reader to find.

    ``utf-8`` takes a file with a byte order mark too, and does not show the mark.

    Raises:
        SourceError: as ``reading_bytes``; there is no such encoding; or it has no place for single bad bytes (UTF-16).
    """
    known = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding
    with reading_bytes(path) as file:
        try:
            text = io.TextIOWrapper(file, encoding=known, errors="surrogateescape", newline="")
        except (LookupError, ValueError):
            hint = "name one that Python knows, as utf-8, cp1252 or utf-16"
            raise SourceError(f"There is no encoding {encoding!r}.", where=str(path), hint=hint) from None
        try:
            yield text
        except UnicodeError as error:
            hint = "set the file's encoding, or save it as UTF-8"
            raise SourceError(f"The file is not {encoding} text.", where=str(path), hint=hint) from error


def _opened(path: Path) -> BinaryIO:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):  # a pipe would wait for ever, and could not be read again on a resume
        hint = "name a file, not a pipe or device"
        raise SourceError("The source is not a regular file.", where=str(path), hint=hint)
    return path.open("rb", buffering=BUFFER_BYTES)


def source_error(error: OSError, path: Path) -> SourceError:
    """What ``error`` means for whoever declared this source."""
    where = str(path)
    if isinstance(error, FileNotFoundError):
        hint = f"check the path; it is relative to the declaration's folder.{_near(path)}"
        return SourceError("The source file does not exist.", where=where, hint=hint)
    if isinstance(error, IsADirectoryError):
        return SourceError("The source is a folder, not a file.", where=where, hint="name a file in it")
    if isinstance(error, PermissionError):
        hint = "give the user that runs Dagster the right to read it"
        return SourceError("The source file must not be read: permission denied.", where=where, hint=hint)
    what = f"The source file cannot be read: {error.strerror or type(error).__name__}."
    return SourceError(what, where=where, hint="check the path and the disk, then resume")


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(SIBLINGS_MAX), strict=False)]
    except OSError:
        return f" The folder {str(path.parent)!r} is not there either." if not path.parent.is_dir() else ""
    return suggest(path.name, names)
