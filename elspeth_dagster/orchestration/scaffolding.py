"""`dg scaffold defs elspeth_dagster.PipelineComponent NAME`: a pipeline that runs as it is, with comments."""

import re
from pathlib import Path
from typing import Any

import dagster as dg

from elspeth_dagster.orchestration.scaffold_files import DECLARATION, MESSAGES

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")
_FILES = {"defs.yaml": DECLARATION, "data/messages.csv": MESSAGES}


class PipelineScaffolder(dg.Scaffolder[Any]):
    """Writes the declaration, and a few rows for it to read."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write both files into the new folder.

        Raises:
            dagster.DagsterInvalidDefinitionError: Python was asked for: a pipeline is declared in YAML.
        """
        if request.scaffold_format != "yaml":
            raise dg.DagsterInvalidDefinitionError(
                "A pipeline is scaffolded as YAML. In Python: build_definitions(load_pipeline(path))."
            )
        folder = Path(request.target_path)
        for name, text in _FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(
                text.replace("PIPELINE_NAME", pipeline_name(folder.name)), encoding="utf-8"
            )


def pipeline_name(folder: str) -> str:
    """A pipeline's name for a folder's: what a name must not have is replaced."""
    name = _NOT_IN_NAMES.sub("_", folder.lower()).strip("_")
    return name if name[:1].isalpha() else f"pipeline_{name}".rstrip("_")
