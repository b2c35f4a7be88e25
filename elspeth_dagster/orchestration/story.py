"""A materialization in a few lines, for whoever opens the asset's page and asks what happened.

Short ones: on a laptop the page shows some fifty characters beside the names of its metadata, and cuts the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.pipeline import Node, Pipeline, Port

if TYPE_CHECKING:
    from elspeth_dagster.runtime.join_tally import JoinTally
    from elspeth_dagster.runtime.node_report import NodeReport

CODES_MAX: Final = 3
"""Codes of failed rows in a story; the table of failures has more."""


def story(pipeline: Pipeline, node: Node, report: NodeReport) -> str:
    """Markdown: what came, what was done, what went wrong, and where to read on."""
    facts = [*_asked(report), *_joined(report), *_batched(report), *_failed(node, report)]
    lines = "\n".join(f"- {fact}" for fact in [*facts, *_went(pipeline, node, report)])
    return "\n\n".join(part for part in (_what(node, report), lines, *_further(report)) if part)


def _what(node: Node, report: NodeReport) -> str:
    tally, seconds = report.tally, report.seconds
    pace = f" ({_pace(tally.rows_in / seconds)} rows/s)" if seconds > 0 and tally.rows_in else ""
    return f"**{_count(tally.rows_in, 'row')} {_done(node, report)}** in {_seconds(seconds)}{pace}."


def _asked(report: NodeReport) -> Iterator[str]:
    tally = report.tally
    if tally.rows_reused:
        yield f"{_count(tally.rows_reused, 'row')} took over answers paid for before"
    usage = tally.usage()
    if usage is None:
        return
    within = tally.latency_ms.percentile(0.5) or 0
    yield f"{_count(tally.calls.get('answered', 0), 'answer')}, half of them within {within:,.0f} ms"
    cost = "" if tally.cost_usd is None else f", ${float(tally.cost_usd):,.4f}"
    yield f"{tally.prompt_tokens:,} tokens in, {tally.completion_tokens:,} out{cost}"


def _joined(report: NodeReport) -> Iterator[str]:
    joins: JoinTally | None = report.tally.joins
    if joins is None:
        return
    yield f"by `{joins.policy}` and `{joins.merge_strategy}`"
    if joins.orders:
        order, count = joins.orders.most_common(1)[0]
        yield f"mostly `{order}`: {count:,} of {joins.orders.total():,}"
        waited_ms = joins.wait_ms.percentile(0.5)
        yield f"half waited at most {waited_ms or 0:,.0f} ms for the branch that decided"
    for branch, why in sorted(joins.lost.items()):
        yield f"`{branch}` is missing from {_count(why.total(), 'row')}: {', '.join(sorted(why))}"


def _batched(report: NodeReport) -> Iterator[str]:
    for one in report.batches:
        batches = _count(one.batches, "batch", "batches")
        yield f"{batches} by `{one.trigger.value}`, of {_count(one.members_max, 'row')} at most"


def _failed(node: Node, report: NodeReport) -> Iterator[str]:
    tally = report.tally
    if not tally.failures:
        return
    does = "does" if tally.rows_failed == 1 else "do"
    name = f"{does} not fit the columns" if node.role == "source" else "failed"
    worst = [f"{count:,} x `{code}`" for code, count in tally.failures.most_common(CODES_MAX)]
    said = f"**{_count(tally.rows_failed, 'row')} {name}**:"
    yield f"{said} {worst[0]}." if len(worst) == 1 else "\n  - ".join([said, *worst])


def _done(node: Node, report: NodeReport) -> str:
    """What a node of this kind does with rows."""
    tally = report.tally
    if tally.joins is not None and isinstance(node.config, CoalesceConfig):
        return f"of {len(node.config.branches())} branches joined into {tally.joins.merged:,}"
    if node.kind == "fork":
        return f"sent down {len(node.ports)} branches"
    if report.batches:
        batches = sum(one.batches for one in report.batches)
        return f"in {batches:,} batch{'es' if batches != 1 else ''} became {tally.rows_out:,}"
    return {"source": "read", "sink": "written"}.get(node.role, "decided")


def _went(pipeline: Pipeline, node: Node, report: NodeReport) -> Iterator[str]:
    """Where the rows went, a line a port."""
    if report.artifact is not None:
        yield f"in `{report.artifact.name}`, sha256 `{report.artifact.sha256.hex()[:12]}`"
        return
    for port, count in sorted(report.balance.by_port.items()):
        takers = ", ".join(f"`{name}`" for name in pipeline.takers(Port(node.node_id, port)))
        if takers and (count or port not in {ERROR_PORT, INVALID_PORT}):
            yield f"{_count(count, 'row')} to {takers}"


def _further(report: NodeReport) -> Iterator[str]:
    key = report.handle.run_key
    yield f"One row's way: `elspeth-dagster explain {key} --row 0`"
    yield f"Check it all: `elspeth-dagster verify {key}`"


def _count(count: int, one: str, many: str | None = None) -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def _pace(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"  # noqa: PLR2004 - three digits


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
