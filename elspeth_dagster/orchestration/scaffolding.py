"""`dg scaffold defs elspeth_dagster.PipelineComponent NAME`: a pipeline that runs as it is, with comments."""

import os
import re
from pathlib import Path
from typing import Any, Final

import click
import dagster as dg

from elspeth_dagster.orchestration.scaffold_files import DECLARATION, MESSAGES, SHARED

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")
_FILES = {"defs.yaml": DECLARATION, "data/messages.csv": MESSAGES}
_SHARED_FILE: Final = "landscape.py"
_SHARES = re.compile(r"\b(LandscapeResource|shared_definitions|build_definitions)\b")
"""Where one of these is written, the code location has a Landscape already."""


class PipelineScaffolder(dg.Scaffolder[Any]):
    """Writes the declaration, a few rows for it to read, and for the first pipeline what the location lacks."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files into the new folder, and beside it, where no Landscape is named yet, one that does.

        Raises:
            click.UsageError: Python was asked for: a pipeline is declared in YAML.
        """
        if request.scaffold_format != "yaml":
            raise click.UsageError(
                "A pipeline is scaffolded as YAML. In Python: build_definitions(load_pipeline(path))."
            )
        folder = Path(request.target_path)
        for name, text in _FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(
                text.replace("PIPELINE_NAME", pipeline_name(folder.name)), encoding="utf-8"
            )
        root = request.project_root
        if root is not None and not _has_landscape(root):
            _write_shared(folder.parent / _SHARED_FILE, root)


def _write_shared(file: Path, root: Path) -> None:
    if file.exists():  # somebody's own: the error about the missing resource is theirs to read
        return
    above = len(file.resolve().relative_to(root.resolve()).parts) - 1
    file.write_text(SHARED.replace("PARENTS_ABOVE", str(above)), encoding="utf-8")
    click.echo(f"Creating {file}: the Landscape, which every pipeline of this project shares.")


def _has_landscape(root: Path) -> bool:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name not in _NOT_OURS]
        for name in files:
            if name.endswith(".py") and _SHARES.search((Path(folder) / name).read_text("utf-8", "replace")):
                return True
    return False


_NOT_OURS = frozenset(
    {"site-packages", "node_modules", "__pycache__", "venv", "env", "tests", "build", "dist"}
)


def pipeline_name(folder: str) -> str:
    """A pipeline's name for a folder's: what a name must not have is replaced."""
    name = _NOT_IN_NAMES.sub("_", folder.lower()).strip("_")
    return name if name[:1].isalpha() else f"pipeline_{name}".rstrip("_")
