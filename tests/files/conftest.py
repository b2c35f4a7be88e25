"""Databases of somebody else: a SQLite file, and a PostgreSQL from its wheel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from elspeth_dagster.errors import SourceError
from elspeth_dagster.tables.address import Address, address_of
from tests.postgres import Postgres

Execute = Callable[..., None]


@pytest.fixture(params=["sqlite", "postgresql"])
def foreign_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'foreign.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.empty()
    yield make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    server.drop(url)


@pytest.fixture
def execute(foreign_url: str) -> Execute:
    """Runs statements in it."""

    def run(*statements: str) -> None:
        engine = sa.create_engine(foreign_url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement.replace(":", r"\:")))

    return run


@pytest.fixture
def address(foreign_url: str) -> Address:
    return address_of(foreign_url, error=SourceError, where="url", sqlite_path=Path)
