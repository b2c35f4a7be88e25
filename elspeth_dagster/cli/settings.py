"""Where things are: the project, its Landscape, Dagster's home."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elspeth_dagster.pipeline.load import project_root

LANDSCAPE_VARIABLE = "ELSPETH_LANDSCAPE_URL"
HOME_VARIABLE = "DAGSTER_HOME"
NAME = "elspeth-dagster"
DECLARATION_NAME = "defs.yaml"
"""What a folder's declaration is called."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works with. ``landscape_url`` may hold a password: show ``landscape_shown``."""

    project: Path
    landscape_url: str = field(repr=False)
    dagster_home: Path
    is_debug: bool
    needs_option: bool

    @property
    def landscape_shown(self) -> str:
        """The Landscape for people: a file as a path, a server without its password."""
        path = self.landscape_url.removeprefix("sqlite:///")
        if path != self.landscape_url:
            return shown_path(Path(path))
        from elspeth_dagster.landscape.url import shown_url  # noqa: PLC0415 - validate needs no database

        return shown_url(self.landscape_url)

    def command(self, *words: str) -> str:
        """A command of ours that works from the present folder, as a person would type it."""
        options = ("--landscape", self.landscape_shown_url) if self.needs_option else ()
        return shlex.join((_program(), *words, *options))

    @property
    def landscape_shown_url(self) -> str:
        """The Landscape's URL without its password."""
        is_file = self.landscape_url.startswith("sqlite:///")
        return f"sqlite:///{self.landscape_shown}" if is_file else self.landscape_shown


def settings_for(
    options: argparse.Namespace, base: Path, *, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a command whose declaration is in the folder ``base``, or that was typed there."""
    project = project_root(base)
    here = _default_url(project_root(Path.cwd()), environ)
    url = options.landscape or _default_url(project, environ)
    home = environ.get(HOME_VARIABLE)
    return Settings(
        project=project,
        landscape_url=url,
        dagster_home=Path(home).absolute() if home else project / ".elspeth" / "dagster",
        is_debug=options.debug,
        needs_option=url != here,
    )


def _default_url(project: Path, environ: Mapping[str, str]) -> str:
    return environ.get(LANDSCAPE_VARIABLE) or f"sqlite:///{project / '.elspeth' / 'landscape.db'}"


def declaration_file(given: str) -> Path:
    """The file that a person means: itself, or the declaration in a folder."""
    path = Path(given).absolute()
    return path / DECLARATION_NAME if path.is_dir() else path


def shown_path(path: Path) -> str:
    """A path as short as it can be from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _program() -> str:
    """This program as the user's shell finds it: by its name, or by the path that it was started with."""
    started = Path(sys.argv[0])
    if shutil.which(NAME) or started.name != NAME:
        return NAME
    return os.path.relpath(started.absolute())
