"""What an executor's settings must not hold: a password, since how a run was executed is recorded with it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.pipeline.spec import Head
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath


def execution_mistakes(head: Head) -> Iterator[Mistake]:
    """Addresses with a password in them, wherever they stand."""
    yield from _passwords(("execution", "config"), head.execution.config)


def _passwords(path: DeclarationPath, value: JSON) -> Iterator[Mistake]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _passwords((*path, key), below)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _passwords((*path, index), below)
    elif isinstance(value, str) and _has_password(value):
        what = "The address holds a password, and would be recorded with every run: write {env: NAME_OF_A_VARIABLE}."
        yield Mistake(path, what)


def _has_password(text: str) -> bool:
    try:
        return bool(urlsplit(text).password)
    except ValueError:  # brackets that hold no address: whatever it is, it is no address with a password
        return False
