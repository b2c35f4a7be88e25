"""The details behind a story, as a tree: values, prompts, answers, expressions, timing, hashes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from elspeth_dagster.cli.amounts import milliseconds, money, name_text, ordinal, plain_text, value_text
from elspeth_dagster.cli.story_text import failure_text, purged_text, violation_text, written_text
from elspeth_dagster.cli.story_tree import Detail, Stop, child_stops, join_details, parent_stops
from elspeth_dagster.cli.terminal import Terminal, cell_width, safe
from elspeth_dagster.landscape.story import CallStory, Explanation, SourceRow, TokenStory, Visit
from elspeth_dagster.model.outcome import CallStatus, StateStatus
from elspeth_dagster.model.row import JSON

LABEL_COLUMNS_MAX: Final = 16
TEXT_LINES_MAX: Final = 12  # of one prompt or answer; --json has all of it
HASH_DIGITS: Final = 24  # enough to compare by eye; it cannot be recomputed by hand anyway


def print_details(terminal: Terminal, explanation: Explanation) -> None:
    """A tree for each token."""
    purged = f"{purged_text(explanation)}: only its hash is left"
    for number, token in enumerate(explanation.tokens):
        terminal.line()
        terminal.line(safe(token.token_id), "bold")
        row = explanation.row if number == 0 and not token.parents.total else None
        stops = list(_stops(row, token, terminal.symbols.dot, purged))
        for at, stop in enumerate(stops):
            _print_stop(terminal, stop, is_last=at == len(stops) - 1)


def _print_stop(terminal: Terminal, stop: Stop, *, is_last: bool) -> None:
    symbols = terminal.symbols
    edge = terminal.paint(symbols.last if is_last else symbols.branch, "dim")
    stem = " " * len(symbols.stem) if is_last else terminal.paint(symbols.stem, "dim")
    terminal.line(f"{edge}{terminal.paint(stop.node_id, 'bold')}  {terminal.paint(stop.said, stop.style)}")
    width = min(LABEL_COLUMNS_MAX, max((cell_width(one.label) for one in stop.details), default=0))
    plain_stem = " " * 2 if is_last else symbols.stem[:1] + " "
    for one in stop.details:
        label = one.label + " " * (width - cell_width(one.label))
        lead = f"{plain_stem}  {label}  "
        _print_text(
            terminal,
            one,
            first=f"{stem} {terminal.paint(label, 'dim')}  ",
            columns=cell_width(lead),
            stem=stem,
        )


def _print_text(terminal: Terminal, detail: Detail, *, first: str, columns: int, stem: str) -> None:
    room = max(20, terminal.width - columns)
    lines = list(_lines(detail.text, room))
    if len(lines) > TEXT_LINES_MAX:
        left = len(lines) - TEXT_LINES_MAX
        lines = [*lines[:TEXT_LINES_MAX], f"{terminal.symbols.ellipsis} {left} more lines: see --json"]
    rest = stem + " " * (columns - len(terminal.symbols.stem))
    for number, line in enumerate(lines):
        terminal.line(f"{rest if number else first}{terminal.paint(line, detail.style)}".rstrip())


def _lines(text: str, room: int) -> Iterator[str]:
    """Wrapped, with the text's own line breaks kept."""
    for line in text.split("\n"):
        yield from textwrap.wrap(safe(line), room, break_on_hyphens=False) or [""]


# What is said at each node -------------------------------------------------------------------------------------------


def _stops(row: SourceRow | None, token: TokenStory, dot: str, purged: str) -> Iterator[Stop]:
    if row is not None:
        yield _source(row, purged)
    yield from parent_stops(token)
    for visit in token.visits:
        outcome = token.outcome
        if outcome is not None and outcome.written is not None and visit.node_id == outcome.sink:
            details = (Detail("sha256", outcome.written.content_hash, "dim"),)
            yield Stop(
                visit.node_id,
                f"{outcome.outcome.value} {dot} {written_text(outcome.written)}",
                "green",
                details,
            )
        else:
            yield _visit(visit, token, dot, purged)
    yield from child_stops(token)


def _source(row: SourceRow, purged: str) -> Stop:
    if row.data.is_purged:
        details = [Detail("values", purged, "yellow")]
    elif isinstance(row.data.value, dict):
        details = [Detail(name_text(name), plain_text(value)) for name, value in row.data.value.items()]
    else:
        details = [Detail("record", plain_text(row.data.value))]
    for one in row.violations:
        details.append(Detail("violation", violation_text(one), "yellow"))
    details.append(Detail("salted hash", f"{row.data.content_hash[:HASH_DIGITS]}...", "dim"))
    return Stop(row.source_node_id, f"{row.kind} {safe(row.path or '')}", None, tuple(details))


def _visit(visit: Visit, token: TokenStory, dot: str, purged: str) -> Stop:
    said = [visit.kind]
    if visit.routing is not None:
        said.append(f"sent to {visit.routing.port}")
    if visit.status is not StateStatus.COMPLETED:
        said.append(visit.status.value)
    if visit.attempt > 1:
        said.append(f"attempt {visit.attempt}")
    if visit.duration_ms is not None and visit.status is not StateStatus.INTERRUPTED:
        said.append(milliseconds(visit.duration_ms))
    style = {StateStatus.FAILED: "red", StateStatus.INTERRUPTED: "yellow"}.get(visit.status)
    return Stop(visit.node_id, f" {dot} ".join(said), style, tuple(_details(visit, token, dot, purged)))


def _details(visit: Visit, token: TokenStory, dot: str, purged: str) -> Iterator[Detail]:
    yield from _messages(visit, purged)
    for call in visit.calls:
        yield from _call(call, dot, purged)
    if visit.routing is not None:
        for tested in visit.routing.tested:
            is_true = visit.routing.expression is not None and tested.port == visit.routing.port
            was = "true" if is_true else "not true"
            values = tested.values or {}
            seen = ", ".join(f"{name_text(name)}={value_text(value)}" for name, value in values.items())
            yield Detail(
                f"if {tested.port}",
                f"{' '.join(tested.expression.split())} was {was}" + (f", with {seen}" if seen else ""),
            )
    yield from _changes(visit, purged)
    if visit.error is not None:
        yield Detail("error", failure_text(visit.error, purged.partition(":")[0]), "red")
        for name, value in {**visit.error.facts, **visit.error.detail}.items():
            yield Detail(f"  {name_text(name)}", plain_text(value))
    pool = visit.context.get("pool")
    if isinstance(pool, Mapping):
        yield Detail("pool", _pool_text(pool))
    yield from join_details(visit, token)


def _messages(visit: Visit, purged: str) -> Iterator[Detail]:
    """The prompt, once: a second try asks the same."""
    shown = next((call for call in visit.calls if call.messages), None)
    if shown is not None:
        for message in shown.messages:
            yield Detail(str(message.get("role")), str(message.get("content")))
    elif visit.calls:
        yield Detail("prompt", purged, "yellow")


def _call(call: CallStory, dot: str, purged: str) -> Iterator[Detail]:
    said = ["answer taken over" if call.reused_from else call.status.value]
    if call.reused_from:
        said.append(f"paid for as {safe(call.reused_from)}")
    if call.http_status is not None and not call.reused_from:
        said.append(f"HTTP {call.http_status}")
    if call.latency_ms is not None:
        said.append(milliseconds(call.latency_ms))
    if call.prompt_tokens is not None or call.completion_tokens is not None:
        counts = [
            "?" if count is None else str(count) for count in (call.prompt_tokens, call.completion_tokens)
        ]
        said.append(f"{counts[0]} tokens in, {counts[1]} out")
    if call.cost_usd is not None:
        said.append(money(call.cost_usd))
    is_good = call.status is CallStatus.ANSWERED and call.error is None
    yield Detail(f"call {call.call_index}", f" {dot} ".join(said), None if is_good else "yellow")
    if call.answer is not None:
        yield Detail("answer", call.answer)
    elif call.response is not None and call.response.is_purged:
        yield Detail("answer", purged, "yellow")
    if call.error is not None and call.error.code != "outcome_unknown":
        yield Detail("", failure_text(call.error), "yellow")


def _changes(visit: Visit, purged: str) -> Iterator[Detail]:
    change = visit.change
    if change is None:
        if visit.output is not None and visit.output.is_purged:
            yield Detail("row", purged, "yellow")
        elif (
            visit.input is None
            and visit.kind != "fork"
            and visit.output is not None
            and isinstance(visit.output.value, dict)
        ):
            for name, value in visit.output.value.items():  # what a node made has nothing to be compared with
                yield Detail(f"+ {name_text(name)}", plain_text(value), "green")
        return
    for name, value in change.added.items():
        yield Detail(f"+ {name_text(name)}", plain_text(value), "green")
    for name, (before, after) in change.changed.items():
        yield Detail(
            f"~ {name_text(name)}",
            f"{value_text(before, columns_max=200)} became {value_text(after, columns_max=200)}",
        )
    for name in change.removed:
        yield Detail(f"- {name_text(name)}", "dropped", "dim")


def _pool_text(pool: Mapping[str, JSON]) -> str:
    """``7th submitted, 20th done, waited 32 ms for its turn``."""
    submitted, done, waited = (
        pool.get(name) for name in ("submit_index", "complete_index", "buffer_wait_ms")
    )
    parts = []
    if isinstance(submitted, int) and isinstance(done, int):
        parts.append(f"{ordinal(submitted + 1)} submitted, {ordinal(done + 1)} done")
    if isinstance(waited, int | float):
        parts.append(f"waited {milliseconds(waited)} for its turn")
    return ", ".join(parts)
