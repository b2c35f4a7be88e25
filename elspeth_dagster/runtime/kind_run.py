"""Which run goes with which kind of node."""

from __future__ import annotations

from elspeth_dagster.files import Artifact
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.base import Compilable, StepConfig
from elspeth_dagster.nodes.batch_llm import LlmRunConfig
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.expand import ExpandConfig
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.nodes.sink import SinkConfig
from elspeth_dagster.nodes.source import SourceConfig
from elspeth_dagster.runtime.aggregate_llm import run_aggregate_llm
from elspeth_dagster.runtime.aggregate_run import run_aggregate
from elspeth_dagster.runtime.coalesce_run import run_coalesce
from elspeth_dagster.runtime.expand_run import run_expand
from elspeth_dagster.runtime.fork_run import run_fork
from elspeth_dagster.runtime.llm_run import run_llm
from elspeth_dagster.runtime.python_run import run_python_pool
from elspeth_dagster.runtime.sink_run import run_sink
from elspeth_dagster.runtime.source_run import run_source
from elspeth_dagster.runtime.step_run import run_step
from elspeth_dagster.runtime.work import Work


def run_kind(work: Work) -> Artifact | None:
    """Work on everything that waits for the node; a sink gives what it wrote.

    Raises:
        ElspethError: as the node's kind says.
    """
    config = work.node.config
    if isinstance(config, SinkConfig):
        return run_sink(work, config)
    if isinstance(config, SourceConfig):
        run_source(work, config)
    elif isinstance(config, LlmConfig):
        run_llm(work, config)
    elif isinstance(config, ForkConfig):
        run_fork(work, config)
    elif isinstance(config, ExpandConfig):
        run_expand(work, config)
    elif isinstance(config, CoalesceConfig):
        run_coalesce(work, config)
    elif isinstance(config, AggregateConfig):
        _run_aggregate(work, config)
    elif isinstance(config, PythonConfig) and config.pool is not None:
        run_python_pool(work, config, config.pool)
    else:
        _run_step(work, config)
    return None


def _run_aggregate(work: Work, config: AggregateConfig) -> None:
    if isinstance(config.run, LlmRunConfig):
        run_aggregate_llm(work, config, config.run)
    else:
        decider = config.run.compile(work.pipeline.home, is_passthrough=config.is_passthrough)
        run_aggregate(work, config, decider, is_foreign=config.run.is_foreign)


def _run_step(work: Work, config: object) -> None:
    assert isinstance(config, StepConfig)  # noqa: S101 - sources and sinks are dealt with
    compilable: Compilable = config  # type: ignore[assignment]
    run_step(work, compilable.compile(work.pipeline.home), max_error_rate=config.max_error_rate)
