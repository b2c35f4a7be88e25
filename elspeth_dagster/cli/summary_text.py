"""A run on one screen: where the rows went, what failed, what the models cost, how fast it was, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from elspeth_dagster.cli.amounts import counted, duration, milliseconds, moment, money, rate
from elspeth_dagster.cli.settings import Settings, shown_path
from elspeth_dagster.cli.summary_family import WENT_ON
from elspeth_dagster.cli.terminal import Cell, Terminal, safe
from elspeth_dagster.landscape.adoption import ADOPTED
from elspeth_dagster.landscape.invariants.files import file_of
from elspeth_dagster.landscape.node_summary import NodeSummary
from elspeth_dagster.landscape.summary import Ending, RunSummary
from elspeth_dagster.landscape.usage import Usage
from elspeth_dagster.model.outcome import Outcome, RunStatus
from elspeth_dagster.tables.uri import parsed_uri

STATUS_STYLES: Final = {
    RunStatus.COMPLETED: "green",
    RunStatus.COMPLETED_WITH_FAILURES: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.RUNNING: "cyan",
}
STATUS_WORDS: Final = {
    RunStatus.COMPLETED: "completed",
    RunStatus.COMPLETED_WITH_FAILURES: "completed, with failed rows",
    RunStatus.INCOMPLETE: "incomplete",
    RunStatus.INTERRUPTED: "interrupted",
    RunStatus.FAILED: "failed",
    RunStatus.RUNNING: "running",
}
LEFT_BEHIND: Final = {
    Outcome.FAILED: "kept in the Landscape: no sink takes them",
    Outcome.QUARANTINED: "did not fit the declared columns",
    Outcome.DISCARDED: "failed: on_error is discard",
}
FAILURES_MAX: Final = 8  # the summary is one screen; `failures` lists them all
MEASURABLE_S: Final = 1.0  # a rate over less than that says nothing
UP_TO_SPEED_S: Final = 3.0  # a shorter run is mostly its beginning and its end
PACE_IS_FULL: Final = 0.85  # of the ideal: from there on nothing is worth explaining


def print_summary(terminal: Terminal, summary: RunSummary, settings: Settings, *, is_stopped: bool) -> None:
    """Print what a person wants to know after a run."""
    print_title(terminal, summary)
    print_rows(terminal, summary)
    print_failures(terminal, summary)
    print_models(terminal, summary)
    terminal.line()
    terminal.table(
        [
            [Cell("Landscape", "dim"), Cell(settings.landscape_shown)],
            [Cell("Dagster", "dim"), Cell(shown_path(settings.dagster_home))],
        ],
        indent="",
    )
    if not is_stopped:
        _print_next(terminal, summary, settings)


def print_title(terminal: Terminal, summary: RunSummary) -> None:
    """Pipeline, key, status, duration; below them the run's id, and which attempt it was."""
    run, status = summary.run, summary.status
    took = f" in {duration(summary.seconds)}" if summary.seconds is not None else ""
    title = terminal.paint(f"{run.pipeline} {run.run_key}", "bold")
    terminal.line()
    terminal.line(f"{title}  {terminal.paint(STATUS_WORDS[status], f'bold {STATUS_STYLES[status]}')}{took}")
    facts = [f"run {run.run_id}", f"{moment(run.started_at)} UTC"]
    if len(summary.attempts) > 1:
        facts.append(f"{len(summary.attempts)} attempts")
    terminal.line(f" {terminal.symbols.dot} ".join(facts), "dim")
    terminal.rule()


def print_rows(terminal: Terminal, summary: RunSummary) -> None:
    """How many rows came in, and where each went."""
    source = next((node for node in summary.nodes if node.role == "source"), None)
    rows = [[Cell(f"{summary.rows_read:,}", "bold", is_number=True), Cell("rows read", "bold")]]
    failing = {group.went_to for group in summary.failures if not group.is_quarantine}
    paths = {artifact.node_id: artifact.uri for artifact in summary.artifacts}
    rows += [_ending_row(ending, failing, paths) for ending in summary.endings]
    if summary.waiting:
        rows.append(
            [
                Cell(f"{summary.waiting:,}", "yellow", is_number=True),
                Cell("waiting", "yellow"),
                Cell("for a resume"),
            ]
        )
    empty = [node_id for node_id in paths if node_id not in {ending.sink for ending in summary.endings}]
    rows += [
        [Cell("0", "dim", is_number=True), Cell(sink, "dim"), Cell(shown_uri(paths[sink]), "dim")]
        for sink in empty
    ]
    if source is not None:
        terminal.table(rows)


def _ending_row(ending: Ending, failing: set[str | None], paths: dict[str, str]) -> list[Cell]:
    count = f"{ending.count:,}"
    if ending.sink is not None:
        is_bad = ending.outcome is Outcome.QUARANTINED or ending.sink in failing
        style = "yellow" if is_bad else None
        note = "quarantined: " if ending.outcome is Outcome.QUARANTINED else "failed: " if is_bad else ""
        place = shown_uri(paths[ending.sink]) if ending.sink in paths else ""
        return [Cell(count, style, is_number=True), Cell(ending.sink, style), Cell(f"{note}{place}", style)]
    if ending.is_late:
        said = "came after their join was decided, as its policy has it"
        return [Cell(count, "dim", is_number=True), Cell("late", "dim"), Cell(said, "dim")]
    style = "yellow" if ending.outcome in LEFT_BEHIND else "dim"
    said = {**LEFT_BEHIND, **WENT_ON}.get(ending.outcome, "")
    return [Cell(count, style, is_number=True), Cell(ending.outcome.value, style), Cell(said, style)]


def shown_uri(uri: str) -> str:
    """A file's path from here; a table and its database; another URI as it is."""
    table = parsed_uri(uri)
    if table is not None:
        file = table.sqlite_path
        return safe(f"{table.table_name} in {table.database if file is None else shown_path(file)}")
    path = file_of(uri)
    return safe(uri if path is None else shown_path(path))


def print_failures(terminal: Terminal, summary: RunSummary) -> None:
    """What failed, by node and code, each with an example."""
    failures = [group for group in summary.failures if not group.is_late]
    if not failures:
        return
    terminal.heading("Failed rows")
    rows = []
    for group in failures[:FAILURES_MAX]:
        example = group.examples[0] if group.examples else None
        row = "" if example is None or example.row_index is None else f"row {example.row_index}"
        said = "" if example is None or not example.message else f": {safe(example.message)}"
        rows.append(
            [
                Cell(f"{group.count:,}", "yellow", is_number=True),
                Cell(group.node_id),
                Cell(group.code),
                Cell(f"{row}{said}", "dim"),
            ]
        )
    terminal.table(rows)
    left = len(failures) - FAILURES_MAX
    if left > 0:
        terminal.line(f"  and {left} more kinds")


def print_models(terminal: Terminal, summary: RunSummary) -> None:
    """Calls, tokens, cost, and how near each pool came to what it allows."""
    asking = [node for node in summary.nodes if node.usage is not None]
    if not asking:
        return
    terminal.heading("Models")
    total = summary.cost_usd if len(asking) > 1 else None
    width = max(map(len, (*(node.node_id for node in asking), *(("together",) if total is not None else ()))))
    if total is not None:
        terminal.line(f"  {'together':<{width}}  {money(total)}")
    for node in asking:
        for number, sentence in enumerate(_model_lines(node, summary)):
            first = f"  {node.node_id:<{width}}  " if number == 0 else " " * (width + 4)
            terminal.wrapped(sentence, first=first)


def _model_lines(node: NodeSummary, summary: RunSummary) -> Iterator[str]:
    usage = node.usage
    assert usage is not None  # noqa: S101 - the caller asks only for nodes that called a model
    yield _calls_text(usage)
    if usage.answered:
        yield f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out, {cost_text(usage)}"
    if usage.unknown:
        example = summary.unknown_calls[0].call_id if summary.unknown_calls else None
        yield f"{counted(usage.unknown, 'call')} may have been answered and paid for" + (
            f", as {example}" if example else ""
        )
    pace = pace_text(node)
    if pace:
        yield pace


def _calls_text(usage: Usage) -> str:
    parts = [counted(usage.answered, "answer")]
    if usage.failed:
        causes = ", ".join(f"{count:,} {_cause(name)}" for name, count in usage.failed_by_cause.items())
        parts.append(f"{counted(usage.failed, 'failed call')} ({causes})")
    if usage.reused:
        parts.append(f"{counted(usage.reused, 'answer')} taken over from before")
    return ", ".join(parts)


def _cause(name: str) -> str:
    return f"HTTP {name.removeprefix('http_')}" if name.startswith("http_") else name


def cost_text(usage: Usage) -> str:
    """``$0.0248``, or why that is not the whole of it."""
    if usage.cost_usd is None:
        return "no price declared" if usage.answered else "nothing paid"
    missing = (
        f" ({counted(usage.unpriced_answers, 'answer')} without usage not counted)"
        if usage.unpriced_answers
        else ""
    )
    return f"{money(usage.cost_usd)}{missing}"


def pace_text(node: NodeSummary) -> str | None:
    """Rows a second against what the pool's size and the model's latency allow; and what held it back."""
    if (
        node.pool is None
        or not node.rows_per_second
        or not node.latency_p50_ms
        or node.seconds < MEASURABLE_S
    ):
        return None
    ideal = node.pool.pool_size / (node.latency_p50_ms / 1000)
    share = node.rows_per_second / ideal
    text = (
        f"{rate(node.rows_per_second)} rows/s, {share:.0%} of what {node.pool.pool_size} in flight at "
        f"{milliseconds(node.latency_p50_ms)} allow"
    )
    if share >= PACE_IS_FULL:
        return text
    if node.pool.capacity_retries:
        turned = counted(node.pool.capacity_retries, "call")
        return f"{text}: the pool kept to the provider's pace ({turned} turned away)"
    if node.seconds < UP_TO_SPEED_S:
        return f"{text}: too few rows to get up to speed"
    return text


def _print_next(terminal: Terminal, summary: RunSummary, settings: Settings) -> None:
    key = summary.run.run_key
    commands = []
    if summary.row_to_explain is not None:
        commands.append(("one row", settings.command("explain", key, "--row", str(summary.row_to_explain))))
    if summary.failures:
        commands.append(("failures", settings.command("failures", key)))
    commands.append(("prove it", settings.command("verify", key)))
    commands.append(("look at it", ui_command(settings)))
    terminal.heading("Next")
    for label, command in commands:
        # Not cut and not wrapped: it is there to be copied.
        terminal.line(f"  {terminal.paint(f'{label:<10}', 'dim')}  {terminal.paint(command, 'cyan')}")


def ui_command(settings: Settings) -> str:
    """What opens Dagster's UI on this project."""
    makefile = settings.project / "Makefile"
    if Path.cwd() == settings.project and makefile.is_file() and _has_target(makefile, "ui"):
        return "make ui"
    if settings.dagster_home.is_relative_to(Path.cwd()):
        home = f'DAGSTER_HOME="$PWD/{shown_path(settings.dagster_home)}"'
    else:
        home = f"DAGSTER_HOME={shlex.quote(str(settings.dagster_home))}"
    workspace = settings.project / "workspace.yaml"
    if workspace.is_file():
        return f"{home} dagster dev -w {shlex.quote(shown_path(workspace))}"
    return f"{home} dagster-webserver --empty-workspace"


def _has_target(makefile: Path, target: str) -> bool:
    text = makefile.read_text(encoding="utf-8", errors="replace")
    return any(line.startswith(f"{target}:") for line in text.splitlines())


def print_nodes(terminal: Terminal, nodes: Sequence[NodeSummary]) -> None:
    """A table of nodes: what each did and how long it took."""
    terminal.heading("Nodes")
    head = ("", "", "", "rows in", "out", "failed", "time", "rows/s")
    rows = [[Cell(name, "dim", is_number=at > 2) for at, name in enumerate(head)]]  # noqa: PLR2004 - numbers from the fourth on
    for node in nodes:
        status = "waiting" if node.status is None else node.status.value
        if node.kind == ADOPTED:
            status = "earlier run"
        style = {"completed": "green", "failed": "red", "waiting": "dim", "earlier run": "dim"}.get(
            status, "yellow"
        )
        pace = "" if not node.rows_per_second else rate(node.rows_per_second)
        numbers = (
            f"{node.rows_in:,}", f"{node.rows_out:,}", f"{node.rows_failed:,}" if node.rows_failed else "",
            duration(node.seconds) if node.executions else "", pace,
        )  # fmt: skip
        rows.append(
            [
                Cell(node.node_id),
                Cell(node.kind, "dim"),
                Cell(status, style),
                *(Cell(text, is_number=True) for text in numbers),
            ]
        )
    terminal.table(rows)
