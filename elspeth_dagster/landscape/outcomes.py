"""How many tokens ended where."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import token_outcomes

IS_TERMINAL: Final = sa.text("token_outcomes.is_terminal")
"""The condition of the index that leads from a token to its outcome. SQLite takes it only word by word: the `= 1` that
SQLAlchemy adds to a column's truth would have it read all outcomes for each token."""


@patient
def count_outcomes_at(database: Database, run_id: str, sink: str) -> int:
    """The tokens of a run that ended at a sink."""
    table = token_outcomes
    question = (
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.run_id == run_id, table.c.is_terminal, table.c.sink == sink)
    )
    with database.read() as connection:
        return int(connection.execute(question).scalar_one())
