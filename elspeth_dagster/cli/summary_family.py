"""What a run's joins and batches came to, in a few lines each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from elspeth_dagster.cli.amounts import counted, milliseconds
from elspeth_dagster.cli.terminal import Terminal, safe
from elspeth_dagster.landscape.batch_reads import TriggerSummary
from elspeth_dagster.landscape.joins import JoinSummary
from elspeth_dagster.model.outcome import BatchTrigger, Outcome

FIRED = {
    BatchTrigger.COUNT: "by count",
    BatchTrigger.TIMEOUT: "by time-out",
    BatchTrigger.CONDITION: "by condition",
    BatchTrigger.END_OF_SOURCE: "at the end of the input",
}

WENT_ON = {
    Outcome.FORKED: "sent down branches",
    Outcome.COALESCED: "joined with their siblings",
    Outcome.EXPANDED: "made into one row for each element",
    Outcome.CONSUMED_IN_BATCH: "gathered into batches",
    Outcome.HANDED_ON: "to nodes that this run did not select",
}
"""Tokens that ended because others were made of them."""


def print_joins(terminal: Terminal, joins: tuple[JoinSummary, ...]) -> None:
    """Each coalesce: what it merged and how, who came first, who was lost, how long it waited."""
    if not joins:
        return
    terminal.heading("Joins")
    width = max(len(one.node_id) for one in joins)
    for one in joins:
        _paragraph(terminal, one.node_id, width, _join_lines(one))


def print_batches(terminal: Terminal, batches: tuple[TriggerSummary, ...]) -> None:
    """Each aggregate: how many batches each trigger fired, of how many rows, and what they made."""
    if not batches:
        return
    terminal.heading("Batches")
    width = max(len(one.node_id) for one in batches)
    for node_id, of_node in groupby(batches, key=lambda one: one.node_id):
        _paragraph(terminal, node_id, width, map(_batch_line, of_node))


def _paragraph(terminal: Terminal, node_id: str, width: int, lines: Iterator[str]) -> None:
    for number, line in enumerate(lines):
        first = f"  {node_id:<{width}}  " if number == 0 else " " * (width + 4)
        terminal.wrapped(line, first=first)


def _join_lines(join: JoinSummary) -> Iterator[str]:
    yield f"{join.merged:,} merged ({safe(join.policy)}, {safe(join.merge_strategy)})"
    if join.failed:
        yield f"{sum(join.failed.values()):,} failed: {_counts(join.failed)}"
    if join.first_arrivals:
        yield f"first to arrive: {_counts(join.first_arrivals)}"
    if join.lost:
        yield f"lost: {_counts(join.lost)}"
    if join.wait_p50_ms is not None:
        waits = (join.wait_p50_ms, join.wait_p95_ms, join.wait_max_ms)
        p50, p95, longest = map(milliseconds, waits)
        yield f"waited for the last branch: p50 {p50}, p95 {p95}, most {longest}"


def _batch_line(batch: TriggerSummary) -> str:
    low, high = batch.members_min, batch.members_max
    sizes = f"{low:,} rows" if low == high else f"{low:,} to {high:,} rows"
    each = " each" if batch.batches > 1 else ""
    failed = f", {batch.failed:,} failed" if batch.failed else ""
    return (
        f"{counted(batch.batches, 'batch', 'batches')} {FIRED[batch.trigger]}, of {sizes}{each}{failed}; "
        f"{counted(batch.outputs, 'row')} made of {batch.members:,}"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{safe(name)} {count:,}" for name, count in counts.items())
