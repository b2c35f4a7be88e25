"""`elspeth-dagster validate FILE`: check a declaration, and show its graph."""

from __future__ import annotations

import argparse
from typing import Final

from elspeth_dagster.cli.amounts import counted
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.launching import missing_keys
from elspeth_dagster.cli.settings import declaration_file, shown_path
from elspeth_dagster.cli.terminal import Terminal, safe, stdout_terminal
from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.asking import asking, pool_of
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.database import DatabaseConfig
from elspeth_dagster.nodes.gate import GateConfig
from elspeth_dagster.nodes.sink import FileSinkConfig
from elspeth_dagster.nodes.source import AssetSourceConfig, FileSourceConfig
from elspeth_dagster.pipeline import Node, Pipeline, Port, load_pipeline
from elspeth_dagster.pipeline.launched import outside_models

LABEL_COLUMNS: Final = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", metavar="FILE", help="the declaration, or a folder with a defs.yaml")


def execute(options: argparse.Namespace) -> int:
    """Load it; mistakes are raised, all at once."""
    file = declaration_file(options.file)
    pipeline = load_pipeline(file)
    terminal = stdout_terminal()
    title = terminal.paint(pipeline.name, "bold")
    terminal.line(f"{title}  {terminal.paint('valid', 'bold green')}  {counted(len(pipeline.nodes), 'node')}")
    if pipeline.head.description:
        terminal.wrapped(safe(pipeline.head.description), style="dim")
    terminal.line(shown_path(file), "dim")
    terminal.rule()
    for node in pipeline.nodes.values():
        _print_node(terminal, pipeline, node)
    _print_notes(terminal, pipeline)
    return Exit.COMPLETE


def _print_node(terminal: Terminal, pipeline: Pipeline, node: Node) -> None:
    arrow = terminal.symbols.arrow
    takes = ", ".join(
        port.node_id if port.name == OUT_PORT else f"{port.node_id}.{port.name}" for port in node.inputs
    )
    head = f"{terminal.paint(node.node_id, 'bold')}  {terminal.paint(node.kind, 'cyan')}"
    terminal.line(f"{head}{terminal.paint(f'  takes {takes}', 'dim') if takes else ''}")
    facts = _facts(pipeline, node)
    label = "branches" if node.kind == "fork" else "routes"
    facts += [
        (label if at == 0 else "", f"{port} {arrow} {', '.join(takers)}{expression}")
        for at, (port, takers, expression) in enumerate(_routes(pipeline, node))
    ]
    for name, said in facts:
        terminal.wrapped(said, first=f"    {name:<{LABEL_COLUMNS}}", rest=" " * (LABEL_COLUMNS + 6))


def _facts(pipeline: Pipeline, node: Node) -> list[tuple[str, str]]:
    config = node.config
    facts: list[tuple[str, str]] = []
    if isinstance(config, AssetSourceConfig):
        facts.append(("asset", safe("/".join(config.asset))))
    elif isinstance(config, FileSourceConfig | FileSinkConfig):
        facts.append(("file", safe(config.path)))
    elif isinstance(config, DatabaseConfig):
        facts.append(("database", safe(config.url or f"the URL in {config.url_env}")))
        facts.append(("reads" if node.role == "source" else "writes", safe(config.where())))
    if isinstance(config, AggregateConfig):
        facts.append(("batches", safe(_batches(config))))
    if (llm := asking(config)) is not None:
        model = pipeline.model(llm.model)
        named = llm.model if model is None else f"{model.model} at {model.address}"
        facts.append(("model", f"{safe(named)}, {llm.pool.pool_size} in flight"))
    elif (pool := pool_of(config)) is not None:
        facts.append(("pool", f"{pool.pool_size} rows at once"))
    if isinstance(config, CoalesceConfig):
        facts.append(("joins", _join(pipeline.forks[node.node_id], config)))
    if node.role == "sink":
        return facts
    columns = (
        "known only when it runs" if node.columns_out is None else ", ".join(map(safe, node.columns_out))
    )
    before = set(node.columns_in or ())
    added = [name for name in node.columns_out or () if name not in before]
    if node.role == "step" and node.columns_in is not None and node.columns_out is not None:
        removed = [name for name in node.columns_in if name not in node.columns_out]
        changes = [f"+ {safe(name)}" for name in added] + [f"- {safe(name)}" for name in removed]
        columns = ", ".join(changes) or "as they come"
    facts.append(("columns", columns))
    return facts


def _batches(config: AggregateConfig) -> str:
    """What makes them fire, and what becomes of them."""
    trigger = config.trigger
    fires = [
        None if trigger.count is None else f"{trigger.count:,} rows",
        None if trigger.timeout_seconds is None else f"{trigger.timeout_seconds:g} s",
        None if trigger.condition is None else f"if {' '.join(trigger.condition.split())}",
    ]
    by = f" for each {', '.join(config.group_by)}" if config.group_by else ""
    kept = ", the rows go on" if config.is_passthrough else ""
    return f"{' or '.join(one for one in fires if one)}{by}: {config.run.kind}{kept}"


def _join(fork_id: str, config: CoalesceConfig) -> str:
    """Which branches, when and how: ``mood and urgency of views; require_all, union``."""
    policy: str = config.policy
    if config.policy == "quorum":
        policy = f"quorum of {config.quorum_count}"
    if config.timeout_seconds is not None:
        policy += f" within {config.timeout_seconds:g} s of the first"
    merge = f"select {config.select_branch}" if config.merge == "select" else config.merge
    return f"{', '.join(config.branches())} of {fork_id}; {policy}, {merge}"


def _routes(pipeline: Pipeline, node: Node) -> list[tuple[str, tuple[str, ...], str]]:
    ports = node.ports if node.ports != (OUT_PORT,) else ()
    expressions = node.config.routes if isinstance(node.config, GateConfig) else {}
    others = "  otherwise" if expressions else ""
    shown = []
    for port in ports:
        said = f"  if {safe(' '.join(expressions[port].split()))}" if port in expressions else others
        shown.append((port, pipeline.takers(Port(node.node_id, port)), said))
    return shown


def _print_notes(terminal: Terminal, pipeline: Pipeline) -> None:
    notes = [f"{error.what.rstrip('.')}: {error.hint}." for error in missing_keys(pipeline)]
    notes += [
        f"The model {name!r} is not declared: a Dagster resource."
        for name in sorted(outside_models(pipeline))
    ]
    notes += [str(doubt) for doubt in pipeline.warnings]
    if notes:
        terminal.line()
    for note in notes:
        terminal.wrapped(safe(note), first="note: ", style="yellow")
