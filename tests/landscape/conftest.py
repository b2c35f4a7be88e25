"""Every claim about the Landscape is tested on both databases: SQLite in a file, PostgreSQL from its wheel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.writer import LandscapeWriter
from tests.landscape.material import FakeClock
from tests.postgres import Postgres

NewUrl = Callable[[], str]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Landscape that was migrated once, to be copied."""
    path = tmp_path_factory.mktemp("template") / "landscape.db"
    database = Database(f"sqlite:///{path}")
    database.ensure_schema()
    database.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def new_empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewUrl]:
    """Gives the URL of one more empty database each time it is called."""
    made: list[str] = []

    def of_sqlite() -> str:
        made.append(f"sqlite:///{tmp_path / f'empty_{len(made)}.db'}")
        return made[-1]

    if backend == "sqlite":
        yield of_sqlite
        return
    server: Postgres = request.getfixturevalue("postgres")

    def of_postgresql() -> str:
        made.append(server.empty())
        return made[-1]

    yield of_postgresql
    for url in made:
        server.drop(url)


@pytest.fixture
def empty_url(new_empty_url: NewUrl) -> str:
    """The URL of an empty database."""
    return new_empty_url()


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a Landscape without records."""
    if backend == "sqlite":
        path = tmp_path / "landscape.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.ready()
    yield made
    server.take_back(made)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A Landscape without records, open."""
    opened = Database(url)
    yield opened
    opened.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def writer(database: Database, clock: FakeClock) -> Iterator[LandscapeWriter]:
    running = LandscapeWriter(database, clock=clock)
    yield running
    running.close()
