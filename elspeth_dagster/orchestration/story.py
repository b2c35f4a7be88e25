"""A materialization in a few sentences, for whoever opens the asset's page and asks what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT
from elspeth_dagster.pipeline import Node, Pipeline, Port

if TYPE_CHECKING:
    from elspeth_dagster.runtime.node_run import NodeReport


def story(pipeline: Pipeline, node: Node, report: NodeReport) -> str:
    """Markdown: what came, what was done, what went wrong, and where to read on."""
    return "\n\n".join([" ".join(_sentences(node, report)), *_went(pipeline, node, report), _further(report)])


def _sentences(node: Node, report: NodeReport) -> Iterator[str]:
    tally, seconds = report.tally, report.seconds
    pace = f" ({tally.rows_in / seconds:,.3g} rows/s)" if seconds > 0 and tally.rows_in else ""
    verb = {"source": "read", "sink": "written"}.get(node.role, "decided")
    yield f"**{_rows(tally.rows_in)} {verb}** in {_seconds(seconds)}{pace}."
    if tally.rows_reused:
        yield f"{_rows(tally.rows_reused)} took over answers that an earlier execution paid for."
    usage = tally.usage()
    if usage is not None:
        answered = tally.calls.get("answered", 0)
        cost = "" if tally.cost_usd is None else f", ${float(tally.cost_usd):,.4f}"
        yield (
            f"{answered:,} answers ({tally.prompt_tokens:,} tokens in, {tally.completion_tokens:,} out{cost}); "
            f"half of them within {report.tally.latency_ms.percentile(0.5) or 0:,.0f} ms."
        )
    if tally.failures:
        worst = ", ".join(f"{count:,} x `{code}`" for code, count in tally.failures.most_common(3))
        name = "do not fit the columns" if node.role == "source" else "failed"
        yield f"**{_rows(tally.rows_failed)} {name}**: {worst}."


def _went(pipeline: Pipeline, node: Node, report: NodeReport) -> Iterator[str]:
    """Where the rows went, a line a port."""
    if report.artifact is not None:
        yield f"In `{report.artifact.name}`, sha256 `{report.artifact.sha256.hex()[:12]}`."
        return
    lines = []
    for port, count in sorted(report.balance.by_port.items()):
        takers = ", ".join(f"`{name}`" for name in pipeline.takers(Port(node.node_id, port)))
        if takers and (count or port not in {ERROR_PORT, INVALID_PORT}):
            lines.append(f"- {_rows(count)} to {takers}")
    if lines:
        yield "\n".join(lines)


def _further(report: NodeReport) -> str:
    key = report.handle.run_key
    return f"`elspeth-dagster explain {key} --row 0` tells one row's way; `elspeth-dagster verify {key}` checks all."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
