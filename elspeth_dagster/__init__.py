"""Audited row-by-row decisions, by models and rules, as Dagster assets.

The public names are loaded when they are first used: `import elspeth_dagster` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elspeth_dagster.errors import ElspethError
    from elspeth_dagster.nodes.kinds import node_kind
    from elspeth_dagster.orchestration.build import build_definitions
    from elspeth_dagster.orchestration.component import PipelineComponent
    from elspeth_dagster.orchestration.io_manager import LandscapeIOManager
    from elspeth_dagster.orchestration.resources import LandscapeResource, ModelResource
    from elspeth_dagster.pipeline import load_pipeline

_HOMES = {
    "ElspethError": "elspeth_dagster.errors",
    "LandscapeIOManager": "elspeth_dagster.orchestration.io_manager",
    "LandscapeResource": "elspeth_dagster.orchestration.resources",
    "ModelResource": "elspeth_dagster.orchestration.resources",
    "PipelineComponent": "elspeth_dagster.orchestration.component",
    "build_definitions": "elspeth_dagster.orchestration.build",
    "load_pipeline": "elspeth_dagster.pipeline",
    "node_kind": "elspeth_dagster.nodes.kinds",
}

__all__ = [
    "ElspethError",
    "LandscapeIOManager",
    "LandscapeResource",
    "ModelResource",
    "PipelineComponent",
    "build_definitions",
    "load_pipeline",
    "node_kind",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
