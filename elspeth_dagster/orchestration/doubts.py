"""Tell, where definitions are loaded, what a declaration's author hardly meant: once, with file and line."""

import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from elspeth_dagster.errors import DeclarationWarning
from elspeth_dagster.pipeline import Pipeline

_VALIDATING: Final = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Set by `dg check defs`."""


def tell_doubts(pipeline: Pipeline) -> None:
    """Warn as Python does, of the declaration's line. A step's own process has nobody to tell it to."""
    if multiprocessing.parent_process() is not None:
        return
    for doubt in pipeline.warnings:
        file = str(pipeline.places.file or f"pipeline {pipeline.name!r}")
        line = pipeline.nodes[doubt.node_id].line or 0
        if (file, line, doubt.what) not in _TOLD:
            _tell(doubt.what, file, line)
            _TOLD.add((file, line, doubt.what))


def _tell(what: str, file: str, line: int) -> None:
    if os.environ.get(_VALIDATING):  # there, Dagster catches Python's warnings and shows none
        logging.getLogger("dagster").warning("%s:%s: %s", file, line, what)
    else:
        warnings.warn_explicit(what, DeclarationWarning, filename=file, lineno=line)


@contextmanager
def told_already() -> Iterator[None]:
    """For who loads a declaration after its doubts were told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        yield


_TOLD: set[tuple[str, int, str]] = set()
"""What this process has said. Python's own memory of that forgets whenever anybody changes its filters."""
