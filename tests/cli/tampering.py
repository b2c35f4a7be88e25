"""Change a copy of a Landscape behind its triggers' back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support import Project


def copy_of(project: Project, folder: Path) -> Project:
    """A copy of a project's Landscape, which the original never sees again."""
    target = folder / "copy.db"
    with (
        closing(sqlite3.connect(project.folder / ".elspeth" / "landscape.db")) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    return Project(folder, f"sqlite:///{target}")


def tamper(project: Project, *statements: str) -> None:
    """Drop every trigger, change what they guard, and put them back, as whoever hides what he did."""
    path = project.landscape_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, made_by in triggers:
            connection.execute(made_by)
