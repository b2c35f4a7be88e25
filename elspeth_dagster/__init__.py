"""Audited row-by-row decisions, by models and rules, as Dagster assets.

The public names are loaded when they are first used: `import elspeth_dagster` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.errors import ElspethError
    from elspeth_dagster.nodes.kinds import node_kind
    from elspeth_dagster.orchestration.build import build_definitions, shared_definitions
    from elspeth_dagster.orchestration.component import PipelineComponent
    from elspeth_dagster.orchestration.io_manager import LandscapeIOManager
    from elspeth_dagster.orchestration.resources import LandscapeResource, ModelResource
    from elspeth_dagster.pipeline import load_pipeline

__all__ = [
    "ElspethError",
    "LandscapeIOManager",
    "LandscapeResource",
    "ModelResource",
    "PipelineComponent",
    "build_definitions",
    "load_pipeline",
    "node_kind",
    "shared_definitions",
]


__getattr__ = loader(
    __name__,
    {
        "errors": ["ElspethError"],
        "nodes.kinds": ["node_kind"],
        "orchestration.build": ["build_definitions", "shared_definitions"],
        "orchestration.component": ["PipelineComponent"],
        "orchestration.io_manager": ["LandscapeIOManager"],
        "orchestration.resources": ["LandscapeResource", "ModelResource"],
        "pipeline": ["load_pipeline"],
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
