"""What an operator may change in Dagster's launchpad, with the declaration's own values as defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.pipeline import Node, Pipeline
from elspeth_dagster.pipeline.graph import SOURCE
from elspeth_dagster.pipeline.launched import Change
from elspeth_dagster.pooling import PoolConfig

ALL_RECORDS: Final = "all"
"""The limit that is none. A word, since the launchpad leaves out what is null."""

_PLAIN: Final = (bool, int, float, str)


def op_name(pipeline: str, node_id: str) -> str:
    """The op of a node, and its key under `ops:` in a run's configuration."""
    return f"{pipeline}__{node_id}"


def config_schema(node: Node) -> dict[str, dg.Field] | None:
    """The form of one node; None where there is nothing to change."""
    if node.role == "source":
        return {"limit": _optional(dg.Any, ALL_RECORDS, "Read at most this many records, or `all` of them.")}
    if (llm := asking(node.config)) is not None:
        model = _optional(str, llm.model, "The name of a declared model, or of a model resource.")
        # Whether the pool is required is left to its fields: so the launchpad spells out all of their defaults.
        return {"model": model, "pool": dg.Field(_pool_form(llm.pool))}
    return None


def _pool_form(pool: PoolConfig) -> dict[str, dg.Field]:
    return {
        name: _optional(type(value), value, PoolConfig.model_fields[name].description)
        for name, value in pool.model_dump().items()
        if isinstance(value, _PLAIN)
    }


def _optional(kind: Any, default: object, description: str | None) -> dg.Field:
    return dg.Field(kind, default_value=default, is_required=False, description=description)


def changes_of(pipeline: Pipeline, run_config: Mapping[str, Any]) -> dict[str, Change]:
    """What a run's configuration says about each llm step, the ones that other processes work on included."""
    changes: dict[str, Change] = {}
    for node_id in pipeline.nodes:
        given = _given(pipeline, run_config, node_id)
        if "model" in given or "pool" in given:
            changes[node_id] = Change(given.get("model"), given.get("pool") or {})
    return changes


def limit_of(pipeline: Pipeline, run_config: Mapping[str, Any]) -> int | None:
    """The most records that the source reads; None for all of them.

    Raises:
        LaunchError: it is no number of records.
    """
    limit = _given(pipeline, run_config, SOURCE).get("limit")
    if limit is None or limit == ALL_RECORDS:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise LaunchError(
            f"The limit {limit!r} is no number of records.",
            where=f"the launch's configuration, ops.{op_name(pipeline.name, SOURCE)}.config.limit",
            hint=f"give a whole number of at least 1, or {ALL_RECORDS!r}",
        )
    return limit


def _given(pipeline: Pipeline, run_config: Mapping[str, Any], node_id: str) -> Mapping[str, Any]:
    ops = run_config.get("ops") or {}
    return (ops.get(op_name(pipeline.name, node_id)) or {}).get("config") or {}
