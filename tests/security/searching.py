"""Look for a secret everywhere, in every form: files as bytes, databases cell by cell, what is compressed unpacked."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
from psycopg.sql import SQL, Identifier


def forms(secret: str) -> set[bytes]:
    """The secret as it is, JSON-escaped once and twice, URL-escaped, and the middle of its base64 at each offset."""
    once = json.dumps(secret)[1:-1]
    found = {secret, once, json.dumps(once)[1:-1], quote(secret, safe=""), quote(secret), quote_plus(secret)}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        found |= {encoded[4:-2], encoded[4:-2].translate(str.maketrans("+/", "-_"))}
    return {form.encode() for form in found}


def assert_nowhere(secret: str, *places: bytes) -> None:
    """None of the places holds the secret; a part of each that is compressed is looked at as well."""
    wanted = forms(secret)
    for place in places:
        for form in wanted:
            where = place.find(form)
            assert where < 0, f"{form!r} in {place[max(0, where - 200) : where + 100]!r}"


def everything_in(folder: Path) -> Iterator[bytes]:
    """Every file, and every cell of every SQLite database."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        body = path.read_bytes()
        yield path.name.encode() + b": " + body
        if body.startswith(b"SQLite format 3"):
            yield from _cells_of_sqlite(path)


def _cells_of_sqlite(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the table's own name
                yield from _unpacked(f"{path.name} {table}", row)


def everything_on(url: str) -> Iterator[bytes]:
    """Every cell of a PostgreSQL database."""
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for row in connection.execute(SQL("SELECT * FROM {}").format(Identifier(table))):
                yield from _unpacked(table, row)


def _unpacked(where: str, row: tuple[object, ...]) -> Iterator[bytes]:
    for cell in row:
        raw = bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()
        yield where.encode() + b": " + raw
        for hex_text in [raw.decode()] if re.fullmatch(rb"(?:[0-9a-f]{2}){4,}", raw) else []:
            yield from _inflated(bytes.fromhex(hex_text))
        yield from _inflated(raw)


def _inflated(raw: bytes) -> Iterator[bytes]:
    try:
        yield zlib.decompress(raw)
    except zlib.error:
        return
