"""What a sink wrote into somebody's table is still there, as it was.

A table's address in the record has no user and no password: these come from the variable that the run's declaration
names, as they did for the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from elspeth_dagster.errors import ElspethError, SinkError
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.schema import runs
from elspeth_dagster.tables.address import Address, address_of
from elspeth_dagster.tables.digest import content_of
from elspeth_dagster.tables.uri import TableUri


def compare_table(examined: Examined, artifact: sa.Row[Any], uri: TableUri) -> Iterator[Finding]:
    """Read the sink's rows again. What cannot be read is a note: the database may be out of reach from here."""
    shown = f"{uri.table_name} in {uri.database}"
    try:
        with _address(examined, artifact.node_id, uri).reading() as connection:
            content = content_of(connection, uri)
    except ElspethError as error:
        examined.notes.append(f"{shown}: not compared. {error.what}")
        return
    examined.counts["tables"] += 1
    if content.sha256 != artifact.content_hash:
        what = f"{shown} is not what the sink wrote: {content.row_count:,} rows of it now, {artifact.row_count:,} then."
        yield Finding("sink_file", "artifacts", artifact.artifact_id, what)


def _address(examined: Examined, node_id: str, uri: TableUri) -> Address:
    if (path := uri.sqlite_path) is not None:
        if not path.is_file():
            raise SinkError("The file is not there any more.")
        return Address(URL.create("sqlite", database=str(path)), SinkError)
    with examined.database.read() as connection:
        spec = json.loads(
            connection.execute(
                sa.select(runs.c.spec_json).where(runs.c.run_id == examined.run.run_id)
            ).scalar_one()
        )
    declared = spec["sinks"][node_id]
    variable = declared.get("url_env")
    written = declared.get("url") or os.environ.get(variable or "", "")
    if not written.strip():
        raise SinkError(f"The environment variable {variable} is not set.")
    address = address_of(written, error=SinkError, where=str(variable), sqlite_path=Path)
    if address.database != uri.database:
        raise SinkError(f"The environment variable {variable} leads elsewhere now.")
    return address
