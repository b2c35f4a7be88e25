"""One question to the database, one finding for each record that it answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding

Record = sa.Row[*tuple[Any, ...]]


def each(
    examined: Examined,
    question: sa.Select[*tuple[Any, ...]],
    *,
    check: str,
    table: str,
    what: Callable[[Record], str],
) -> Iterator[Finding]:
    """A finding for every record; its first column is the key, and ``what`` says what is wrong with it."""
    with examined.database.read() as connection:
        for record in connection.execute(question.execution_options(yield_per=PAGE)):
            yield Finding(check, table, str(record[0]), what(record))
