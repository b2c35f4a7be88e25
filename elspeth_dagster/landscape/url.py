"""A Landscape's URL: which driver reads it, and how it is shown without its secrets."""

from __future__ import annotations

from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from elspeth_dagster.errors import LandscapeUnavailableError

SECRET_OPTIONS: Final = ("password", "sslpassword")  # libpq takes them in a URL's query too

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}


def parsed_url(url: str) -> URL:
    """The URL with the driver that is used: the standard library's for SQLite, psycopg 3 for PostgreSQL.

    Raises:
        LandscapeUnavailableError: it is no URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what cannot be parsed may hold a password: its text goes no further
        raise bad_url("The Landscape's URL cannot be read.") from None
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        raise bad_url(f"The Landscape lives in SQLite or PostgreSQL, not {backend!r}.")
    return parsed.set(drivername=_DRIVERS[backend])


def shown_url(url: str) -> str:
    """A URL without its password; what cannot be read is not shown at all."""
    try:
        return without_secrets(make_url(url))
    except (ArgumentError, ValueError):
        return "(a URL that cannot be read)"


def url_secrets(url: str) -> tuple[str, ...]:
    """The passwords in a URL, whether they stand before the host or among the options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return ()
    options = [parsed.query.get(name, ()) for name in SECRET_OPTIONS]
    several = [one for option in options for one in ((option,) if isinstance(option, str) else option)]
    return tuple(filter(None, [parsed.password, *several]))


def without_secrets(url: URL) -> str:
    """The URL as it may be shown."""
    return url.difference_update_query(SECRET_OPTIONS).render_as_string(hide_password=True)


def bad_url(what: str) -> LandscapeUnavailableError:
    """The error for a URL that cannot be a Landscape's."""
    return LandscapeUnavailableError(
        what,
        where="--landscape or ELSPETH_LANDSCAPE_URL",
        hint="write sqlite:///path/to/landscape.db or postgresql+psycopg://user@host/name",
    )
