"""Which nodes ask a model, and with what configuration: an llm step, and an aggregate that runs one on its batches."""

from __future__ import annotations

from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.base import NodeConfig
from elspeth_dagster.nodes.batch_llm import LlmRunConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.pooling import PoolConfig


def asking(config: NodeConfig) -> LlmConfig | None:
    """What a node asks a model; None if it asks nobody."""
    if isinstance(config, AggregateConfig):
        return config.run if isinstance(config.run, LlmRunConfig) else None
    return config if isinstance(config, LlmConfig) else None


def pool_of(config: NodeConfig) -> PoolConfig | None:
    """The pool that a node's rows overlap in; None where they come one after another."""
    if isinstance(config, PythonConfig):
        return config.pool
    llm = asking(config)
    return None if llm is None else llm.pool


def asking_with(config: NodeConfig, llm: LlmConfig) -> NodeConfig:
    """The node's configuration with ``llm`` in the place of what it asks now."""
    return config.model_copy(update={"run": llm}) if isinstance(config, AggregateConfig) else llm
