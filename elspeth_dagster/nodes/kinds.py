"""The step kinds that a declaration may name."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.base import StepConfig
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.expand import ExpandConfig
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.nodes.gate import GateConfig
from elspeth_dagster.nodes.keyword_filter import KeywordFilterConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.map import MapConfig
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.nodes.sink import CsvSinkConfig, FileSinkConfig, JsonlSinkConfig
from elspeth_dagster.nodes.source import CsvSourceConfig, FileSourceConfig, JsonlSourceConfig

STEP_KINDS: Mapping[str, type[StepConfig]] = {
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
SOURCE_KINDS: Mapping[str, type[FileSourceConfig]] = {"csv": CsvSourceConfig, "jsonl": JsonlSourceConfig}
SINK_KINDS: Mapping[str, type[FileSinkConfig]] = {"csv": CsvSinkConfig, "jsonl": JsonlSinkConfig}
