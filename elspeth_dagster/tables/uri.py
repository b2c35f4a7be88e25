"""The address of what a sink wrote into a table: database, table and whose rows, without user and password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit


@dataclass(frozen=True, slots=True)
class TableUri:
    """``database`` is ``backend://host:port/name``, or ``sqlite:///path``. ``run_id`` is None where later runs replace.

    ``sink`` is ``pipeline/sink``.
    """

    database: str
    schema: str | None
    table: str
    sink: str
    partition: str | None
    run_id: str | None

    def __str__(self) -> str:
        named = {
            "schema": self.schema,
            "table": self.table,
            "sink": self.sink,
            "partition": self.partition,
            "run_id": self.run_id,
        }
        given = {key: value for key, value in named.items() if value is not None}
        return f"{self.database}?{urlencode(given, quote_via=quote)}"

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, if it is SQLite's."""
        parts = urlsplit(self.database)
        return Path(unquote(parts.path)) if parts.scheme == "sqlite" else None

    @property
    def table_name(self) -> str:
        """The table with its schema, as people write it."""
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


def parsed_uri(uri: str) -> TableUri | None:
    """What ``uri`` says; None for what is no table's."""
    parts = urlsplit(uri)
    named = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "file" or "table" not in named or "sink" not in named:
        return None
    return TableUri(
        uri.partition("?")[0],
        named.get("schema"),
        named["table"],
        named["sink"],
        named.get("partition"),
        named.get("run_id"),
    )
