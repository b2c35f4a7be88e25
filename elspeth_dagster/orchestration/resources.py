"""The Landscape as a Dagster resource."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from pydantic import Field

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import AWAY_S_MAX
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import SystemClock

LANDSCAPE_VARIABLE = "ELSPETH_LANDSCAPE_URL"
LANDSCAPE_KEY = "landscape"
"""The resource key that every pipeline's assets ask for."""


class LandscapeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the audit database is.

    ``url`` is SQLAlchemy's: ``sqlite:///path`` or ``postgresql+psycopg://user@host/name``. Without it,
    ``ELSPETH_LANDSCAPE_URL`` is read; without that, the Landscape is ``.elspeth/landscape.db`` in the working folder.
    """

    url: str | None = Field(default=None, description="SQLAlchemy URL of the Landscape.")

    def resolved_url(self) -> str:
        """The URL that is used."""
        return self.url or landscape_url(Path.cwd())

    @contextlib.contextmanager
    def session(self) -> Iterator[tuple[Database, LandscapeWriter]]:
        """An open Landscape and this process's writer to it; made on first use.

        Raises:
            LandscapeError: it cannot be opened, or is of another version.
        """
        with self.database(patience_s=AWAY_S_MAX) as database:
            writer = LandscapeWriter(database, clock=SystemClock())
            try:
                yield database, writer
            finally:
                writer.close()

    @contextlib.contextmanager
    def database(self, *, patience_s: float = 0.0) -> Iterator[Database]:
        """An open Landscape, for who reads, or writes what is no node's; made on first use.

        One that is away is waited for for ``patience_s``.

        Raises:
            LandscapeError: it cannot be opened, or is of another version.
        """
        database = Database(self.resolved_url(), patience_s=patience_s)
        try:
            database.ensure_schema()
            yield database
        finally:
            database.dispose()


def landscape_url(project: Path) -> str:
    """The Landscape of a project's folder, where nothing else is said."""
    return os.environ.get(LANDSCAPE_VARIABLE) or f"sqlite:///{project / '.elspeth' / 'landscape.db'}"
