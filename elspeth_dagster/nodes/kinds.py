"""The step kinds that a declaration may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.base import NodeConfig, StepConfig
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.expand import ExpandConfig
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.nodes.gate import GateConfig
from elspeth_dagster.nodes.keyword_filter import KeywordFilterConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.map import MapConfig
from elspeth_dagster.nodes.parquet import ParquetSinkConfig, ParquetSourceConfig
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.nodes.registry import Kinds, kind_of
from elspeth_dagster.nodes.sink import CsvSinkConfig, JsonlSinkConfig, SinkConfig
from elspeth_dagster.nodes.source import (
    AssetSourceConfig,
    CsvSourceConfig,
    JsonlSourceConfig,
    SourceConfig,
)
from elspeth_dagster.nodes.sql_sink import SqlSinkConfig
from elspeth_dagster.nodes.sql_source import SqlSourceConfig

Config = TypeVar("Config", bound=NodeConfig)

_OWN_STEPS: Mapping[str, type[StepConfig]] = {
    "coalesce": CoalesceConfig,
    "expand": ExpandConfig,
    "aggregate": AggregateConfig,
    "fork": ForkConfig,
    "gate": GateConfig,
    "keyword_filter": KeywordFilterConfig,
    "llm": LlmConfig,
    "map": MapConfig,
    "python": PythonConfig,
}
_OWN_SOURCES: Mapping[str, type[SourceConfig]] = {
    "csv": CsvSourceConfig,
    "jsonl": JsonlSourceConfig,
    "parquet": ParquetSourceConfig,
    "sql": SqlSourceConfig,
    "asset": AssetSourceConfig,
}
_OWN_SINKS: Mapping[str, type[SinkConfig]] = {
    "csv": CsvSinkConfig,
    "jsonl": JsonlSinkConfig,
    "parquet": ParquetSinkConfig,
    "sql": SqlSinkConfig,
}

STEP_KINDS: Final[Kinds[StepConfig]] = Kinds(StepConfig, _OWN_STEPS)
SOURCE_KINDS: Final[Kinds[SourceConfig]] = Kinds(SourceConfig, _OWN_SOURCES)
SINK_KINDS: Final[Kinds[SinkConfig]] = Kinds(SinkConfig, _OWN_SINKS)


def node_kind(config: type[Config]) -> type[Config]:
    """Offer a kind of node to declarations: a class decorator for a configuration.

    A step's is a ``StepConfig`` with ``kind: Literal["its_name"]`` and ``compile(home)``, which gives an object whose
    ``decide(row)`` returns ``Emitted(row)`` or ``Rejected(reason, message)``. A source's is a ``SourceConfig``, a
    sink's a ``SinkConfig``; for files there are ``FileSourceConfig`` and ``FileSinkConfig``.

    Raises:
        DeclarationError: it is none of these, or its name is taken.
    """
    if issubclass(config, SourceConfig):
        SOURCE_KINDS.add(kind_of(config), config)
    elif issubclass(config, SinkConfig):
        SINK_KINDS.add(kind_of(config), config)
    elif issubclass(config, StepConfig) and hasattr(config, "compile"):
        STEP_KINDS.add(kind_of(config), config)
    else:
        what = (
            f"{config.__qualname__} is no StepConfig with a method compile(), no SourceConfig, no SinkConfig"
        )
        raise DeclarationError(f"A kind of node cannot be offered: {what}.", mistakes=(what,))
    return config
