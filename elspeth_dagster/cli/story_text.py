"""The story of a row in plain words: where it came from, what each node did with it and why, where it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from elspeth_dagster.cli.amounts import counted, fields_text, milliseconds, name_text, ordinal, value_text
from elspeth_dagster.cli.story_family import (
    end_sentences,
    is_told_elsewhere,
    join_sentences,
    origin_sentences,
)
from elspeth_dagster.cli.summary_text import shown_uri
from elspeth_dagster.cli.terminal import Terminal, safe
from elspeth_dagster.landscape.invariants.files import file_of
from elspeth_dagster.landscape.story import (
    CallStory,
    Explanation,
    Failure,
    Routing,
    SourceRow,
    TokenStory,
    Violation,
    Visit,
    Written,
)
from elspeth_dagster.landscape.violation_words import violation_words
from elspeth_dagster.model.outcome import CallStatus, Outcome, StateStatus
from elspeth_dagster.model.row import JSON
from elspeth_dagster.tables.uri import parsed_uri

QUOTED_FIELDS_MAX = 3  # enough to recognise the row
QUOTED_COLUMNS_MAX = 48


def print_story(terminal: Terminal, explanation: Explanation) -> None:
    """A paragraph for each token."""
    purged = purged_text(explanation)
    for number, token in enumerate(explanation.tokens):
        terminal.line()
        row = explanation.row if number == 0 else None
        terminal.wrapped(" ".join(_sentences(row, token, purged)))
    left = explanation.tokens_total - len(explanation.tokens)
    if left > 0:
        terminal.line()
        terminal.wrapped(f"{counted(left, 'more token')} came of this row: ask for one with --token.")


def purged_text(explanation: Explanation) -> str:
    """``purged on 2026-05-02``; just ``purged`` where no record says when."""
    return f"purged on {explanation.purged_at[:10]}" if explanation.purged_at else "purged"


def _sentences(row: SourceRow | None, token: TokenStory, purged: str) -> Iterator[str]:
    if row is not None:
        yield from _origin(row, purged)
    if token.parents.total:
        yield f"Token {safe(token.token_id)}:"
        yield from origin_sentences(token)
    elif row is None:
        yield f"Token {safe(token.token_id)} was made by {token.created_by_node_id}."
    for visit in token.visits:
        if not is_told_elsewhere(token, visit):
            yield from _visit(visit, purged)
    yield from end_sentences(token) or _end(token)


def _origin(row: SourceRow, purged: str) -> Iterator[str]:
    source = (row.path and Path(row.path).name) or row.source_node_id
    if row.data.is_purged:
        said = f"; its values were {purged}"
    elif isinstance(row.data.value, dict):
        quoted = fields_text(row.data.value, fields_max=QUOTED_FIELDS_MAX, columns_max=QUOTED_COLUMNS_MAX)
        said = f" with {quoted}" if quoted else ""
    else:
        said = f" as {value_text(row.data.value)}"
    yield f"Row {row.row_index} came from {safe(source)}{said}."
    if row.violations:
        wrong = "; ".join(map(violation_text, row.violations))
        yield f"It did not fit the declared columns: {wrong}."


def violation_text(violation: Violation) -> str:
    """One way in which a row did not fit."""
    field = name_text(violation.field) if violation.field else "the record"
    said = violation_words(violation.code, violation.expected, violation.actual)
    return f"{field} {safe(said)} ({violation.code})"


def _visit(visit: Visit, purged: str) -> Iterator[str]:
    node = visit.node_id
    if visit.status is StateStatus.OPEN:
        yield f"{node} has begun it."
    elif visit.status is StateStatus.INTERRUPTED:
        unknown = [call for call in visit.calls if call.status is CallStatus.UNKNOWN]
        said = f": {counted(len(unknown), 'call')} may have been answered, and paid for" if unknown else ""
        yield f"{node} had begun it when it was interrupted{said}."
    elif visit.status is StateStatus.FAILED:
        asked = f"{_asked(visit.calls)} and failed it" if visit.calls else "failed it"
        took = f" It went on to {', '.join(visit.took)}, which takes what fails there." if visit.took else ""
        yield f"{node} {asked}: {failure_text(visit.error, purged)}.{took}"
        metadata = visit.context.get("coalesce")
        if isinstance(metadata, dict):
            yield from join_sentences(metadata)
    elif visit.routing is not None:
        yield f"{node} sent it to {visit.routing.port} because {_because(visit.routing)}."
    elif visit.calls:
        made = f": {_made(visit, purged)}" if visit.output is not None else ""
        yield f"{node} {_asked(visit.calls)}{made}."
    elif visit.output is not None:
        yield f"{node} {_made(visit, purged)}."


def _made(visit: Visit, purged: str) -> str:
    """What a node did to the row."""
    change = visit.change
    made = visit.output.value if visit.input is None and visit.output is not None else None
    if isinstance(made, dict):  # of a batch: there is no row that it was before
        return fields_text(made)
    if change is None:
        return f"changed it; the values were {purged}"
    if change.is_none:
        return "left it as it was"
    if visit.calls and change.added and not (change.removed or change.changed):
        return fields_text(change.added)
    parts = [f"set {fields_text(change.added)}"] if change.added else []
    parts += [
        f"changed {name_text(name)} from {value_text(before, columns_max=30)} to {value_text(after, columns_max=30)}"
        for name, (before, after) in change.changed.items()
    ]
    if change.removed:
        parts.append(f"dropped {', '.join(map(name_text, change.removed))}")
    return " and ".join(parts)


def _asked(calls: tuple[CallStory, ...]) -> str:
    """``asked gpt-4o-mini (1 call, 54 ms)``, with what went before the answer that counted."""
    last = calls[-1]
    fresh = [call for call in calls if call.reused_from is None]
    failed = [call for call in fresh if call.status is CallStatus.FAILED]
    took = sum(call.latency_ms or 0.0 for call in fresh if call.status is CallStatus.ANSWERED)
    facts = [counted(len(fresh), "call")] if fresh else []
    if took:
        facts.append(milliseconds(took))
    if failed:
        causes = sorted(
            {str(call.http_status or (call.error.code if call.error else "failed")) for call in failed}
        )
        facts.append(f"{len(failed)} turned away or broken: {', '.join(causes)}")
    for count, where in _taken_over(calls):
        facts.append(f"{counted(count, 'answer')} taken over from {where}")
    return f"asked {safe(last.model_answered or last.model_requested)} ({', '.join(facts)})"


def _taken_over(calls: tuple[CallStory, ...]) -> Iterator[tuple[int, str]]:
    """How many answers were not asked for anew, by where they come from."""
    runs = Counter(call.reused_from_run for call in calls if call.reused_from is not None)
    for run_key, count in runs.items():
        yield count, "an earlier attempt" if run_key is None else f"the earlier run {safe(run_key)}"


def failure_text(failure: Failure | None, purged: str = "purged") -> str:
    """A failure's code and message."""
    if failure is None:
        return "for a reason that was not recorded"
    if failure.message:
        return f"{safe(failure.message).rstrip('.')} ({failure.code})"
    if failure.is_purged:
        return f"{failure.code}; the message was {purged}"
    return failure.code


def _because(routing: Routing) -> str:
    if routing.expression is not None:
        tested = routing.tested[-1]  # those before it were not true
        seen = f" with {_seen(tested.values)}" if tested.values else ""
        return f"{_one_line(routing.expression)} was true{seen}"
    listed = "; ".join(_one_line(tested.expression) for tested in routing.tested)
    values = {name: value for tested in routing.tested for name, value in (tested.values or {}).items()}
    seen = f" with {_seen(values)}" if values else ""
    return f"no route was true ({listed}{seen})"


def _seen(values: Mapping[str, JSON]) -> str:
    return ", ".join(f"{name_text(name)}={value_text(value)}" for name, value in values.items())


def _one_line(expression: str) -> str:
    return safe(" ".join(expression.split()))


def _end(token: TokenStory) -> Iterator[str]:
    outcome = token.outcome
    if outcome is None:
        last = token.visits[-1] if token.visits else None
        at = ", ".join(last.took) if last is not None and last.took else None
        yield f"It waits{f' for {at}' if at else ''}: the run has not finished with it."
    elif outcome.written is not None:
        verb = "was quarantined in" if outcome.outcome is Outcome.QUARANTINED else "ended in"
        yield f"It {verb} {written_text(outcome.written)}."
    elif outcome.sink is not None:
        yield f"It ended in {outcome.sink}."
    else:
        said = {
            Outcome.FAILED: f"It ended failed: nothing takes what fails at {outcome.node_id}",
            Outcome.DISCARDED: f"It was discarded, as {outcome.node_id} declares for what fails",
            Outcome.QUARANTINED: "It was quarantined, and no sink takes such rows",
        }
        yield f"{said.get(outcome.outcome, f'It ended {outcome.outcome.value}')}."


def written_text(written: Written) -> str:
    """``out/normal.jsonl, line 3``."""
    path = file_of(written.uri)
    place = shown_uri(written.uri)
    if path is not None and path.suffix == ".jsonl":
        return f"{place}, line {written.position:,}"
    if parsed_uri(written.uri) is not None:
        return f"{place}, elspeth_row {written.position}"
    return f"{place}, {ordinal(written.position)} row"
