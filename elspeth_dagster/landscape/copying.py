"""Load a page of new records with PostgreSQL's COPY: two to three times as fast as inserting them.

COPY knows no ON CONFLICT. So it runs under a savepoint and only where nothing seems to be there yet; if the database
refuses, for whatever reason, its work is undone and the ordinary INSERT decides, and says what is wrong.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.records import Record, Statements

COPIED_RECORDS_MIN: Final = 50
"""A savepoint, a look and a COPY are three round trips: for fewer records one INSERT is faster."""


def copied(connection: Connection, to: Statements, records: list[Record]) -> bool:
    """Whether all ``records`` were copied; if not, none was, and the transaction is as it was before."""
    if connection.dialect.name != "postgresql" or len(records) < COPIED_RECORDS_MIN:
        return False
    if connection.exec_driver_sql(to.select, to.key(records[0])).first() is not None:
        return (
            False  # a resume reads its source again, or a commit's answer was lost: units are whole or absent
        )
    savepoint = connection.begin_nested()
    driver = connection.connection
    try:
        with closing(driver.cursor()) as cursor, cursor.copy(to.copy) as copy:
            for record in records:
                copy.write_row(record)
    except connection.dialect.loaded_dbapi.Error:
        savepoint.rollback()  # raises, as every statement does, where the connection is lost
        return False
    savepoint.commit()
    return True
