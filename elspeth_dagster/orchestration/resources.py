"""The Landscape, and models, as Dagster resources."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, ValidationError

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.llm import ModelSettings, resolve_key
from elspeth_dagster.model.clock import SystemClock

if TYPE_CHECKING:
    from elspeth_dagster.landscape.database import Database
    from elspeth_dagster.landscape.writer import LandscapeWriter

_MAY_HOLD_SECRETS = re.compile("@|password", re.IGNORECASE)
LANDSCAPE_VARIABLE = "ELSPETH_LANDSCAPE_URL"
LANDSCAPE_KEY = "landscape"
"""The resource key that every pipeline's assets ask for."""


class LandscapeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the audit database is.

    ``url`` is SQLAlchemy's: ``sqlite:///path`` or ``postgresql+psycopg://user@host/name``. Without it,
    ``ELSPETH_LANDSCAPE_URL`` is read; without that, the Landscape is ``.elspeth/landscape.db`` in ``project``, or in
    the working folder. A URL with a password belongs into that variable, or is given as ``EnvVar("...")``.
    """

    url: str | None = Field(default=None, description="SQLAlchemy URL of the Landscape, without a password.")
    project: str | None = Field(default=None, description="The folder of the default Landscape.")

    def resolved_url(self) -> str:
        """The URL that is used."""
        return self.url or landscape_url(Path(self.project) if self.project else Path.cwd())

    def refuse_password(self) -> None:
        """Refuse a URL that is written out with a password: Dagster stores a resource's configuration with every job.

        Raises:
            LaunchError: there is one.
        """
        if not self.url or isinstance(self.url, dg.EnvVar) or not _MAY_HOLD_SECRETS.search(self.url):
            return
        # A location loads without the database's toolkit where it can.
        from elspeth_dagster.landscape.url import shown_url, url_secrets  # noqa: PLC0415

        if url_secrets(self.url):
            raise LaunchError(
                "The Landscape's URL holds a password, and Dagster stores a resource's configuration with every job.",
                where=f"LandscapeResource(url={shown_url(self.url)!r})",
                hint=f'put it into {LANDSCAPE_VARIABLE} and leave url out, or write url=EnvVar("...")',
            )

    @contextlib.contextmanager
    def session(self) -> "Iterator[tuple[Database, LandscapeWriter]]":
        """An open Landscape and this process's writer to it; made on first use.

        Raises:
            LandscapeError: it cannot be opened, or is of another version.
        """
        from elspeth_dagster.landscape.patience import AWAY_S_MAX  # noqa: PLC0415 - as above
        from elspeth_dagster.landscape.writer import LandscapeWriter  # noqa: PLC0415

        with self.database(patience_s=AWAY_S_MAX) as database:
            writer = LandscapeWriter(database, clock=SystemClock())
            try:
                yield database, writer
            finally:
                writer.close()

    @contextlib.contextmanager
    def database(self, *, patience_s: float = 0.0) -> "Iterator[Database]":
        """An open Landscape, for who reads, or writes what is no node's; made on first use.

        One that is away is waited for for ``patience_s``.

        Raises:
            LandscapeError: it cannot be opened, or is of another version.
        """
        from elspeth_dagster.landscape.database import Database  # noqa: PLC0415 - as above

        database = Database(self.resolved_url(), patience_s=patience_s)
        try:
            database.ensure_schema()
            yield database
        finally:
            database.dispose()


class ModelResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A model that steps may name, shared by the pipelines of a code location.

    A step says ``model: judge``, and the code location has a resource ``judge``. The fields are those of an entry of
    ``models:``; ``api_key`` may hold the key itself, as ``dg.EnvVar("OPENAI_API_KEY")``: it is never recorded.
    """

    model: str = Field(description="The model's name, as its provider calls it.")
    provider: str = Field(default="openai", description="openai, azure or openrouter.")
    base_url: str | None = Field(default=None, description="Another address than the provider's.")
    api_key: str | None = Field(default=None, description='The key, as `dg.EnvVar("OPENAI_API_KEY")`.')
    api_key_env: str | None = Field(default=None, description="Or the name of the variable that holds it.")
    api_version: str | None = Field(default=None, description="Azure's.")
    deployment: str | None = Field(default=None, description="Azure's.")
    price: dict[str, float] | None = Field(
        default=None, description="US dollars per million tokens: input, output."
    )
    timeout_s: float = Field(default=60.0, description="Bounds a whole request, in seconds.")

    def settings(self) -> ModelSettings:
        """The model as a declaration would say it, without the key.

        Raises:
            LaunchError: the settings cannot be.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "api_key"}
        try:
            return ModelSettings.model_validate(
                {key: value for key, value in given.items() if value is not None}
            )
        except ValidationError as error:
            raise LaunchError(
                f"The model resource cannot be: {error.errors()[0]['msg']}.",
                where=f"model {self.model!r}",
                hint="mend the ModelResource in the code location",
            ) from error

    def key(self) -> str:
        """The key, for who calls the model.

        Raises:
            MissingSecretError: there is none.
        """
        return self.api_key or resolve_key(self.settings(), os.environ)

    def secrets(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The key in whatever form it is known; nothing where there is none."""
        named = environ.get(self.api_key_env, "") if self.api_key_env else ""
        return tuple(filter(None, (self.api_key, named)))


def landscape_url(project: Path) -> str:
    """The Landscape of a project's folder, where nothing else is said."""
    return os.environ.get(LANDSCAPE_VARIABLE) or f"sqlite:///{project / '.elspeth' / 'landscape.db'}"
