"""The tools: what each is called, what it takes, and which of the Landscape's questions it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from elspeth_dagster.expressions import values_read
from elspeth_dagster.landscape import Landscape
from elspeth_dagster.landscape.free_query import run_query
from elspeth_dagster.mcp import arguments as given
from elspeth_dagster.mcp.answers import answer_text, page_text


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. ``answer`` takes checked ``arguments`` and gives JSON text."""

    name: str
    description: str
    arguments: type[given.Arguments]
    answer: Callable[[Landscape, Any], str]


def _list_runs(landscape: Landscape, asked: given.PageArguments) -> str:
    return page_text(lambda limit: landscape.runs_page(after=asked.after, limit=limit), asked.limit)


def _get_run(landscape: Landscape, asked: given.RunArguments) -> str:
    return answer_text(landscape.summary(asked.run_id))


def _get_node_states(landscape: Landscape, asked: given.StatesArguments) -> str:
    return page_text(
        lambda limit: landscape.get_node_states(
            asked.run_id,
            node_id=asked.node_id,
            token_id=asked.token_id,
            status=asked.status,
            after=asked.after,
            limit=limit,
        ),
        asked.limit,
    )


def _explain_token(landscape: Landscape, asked: given.TokenArguments) -> str:
    return answer_text(landscape.explain_token(asked.run_id, asked.token_id, values_read=values_read))


def _explain_row(landscape: Landscape, asked: given.RowArguments) -> str:
    return answer_text(landscape.explain_row(asked.run_id, asked.row_index, values_read=values_read))


def _get_calls(landscape: Landscape, asked: given.CallsArguments) -> str:
    return page_text(
        lambda limit: landscape.get_calls(asked.state_id, after=asked.after, limit=limit), asked.limit
    )


def _get_failures(landscape: Landscape, asked: given.RunArguments) -> str:
    return answer_text({"failures": landscape.failures(asked.run_id)})


def _get_pool_stats(landscape: Landscape, asked: given.NodeArguments) -> str:
    return answer_text({"pools": landscape.pool_stats(asked.run_id, node_id=asked.node_id)})


def _get_coalesce_events(landscape: Landscape, asked: given.EventsArguments) -> str:
    return page_text(
        lambda limit: landscape.coalesce_events(
            asked.run_id, node_id=asked.node_id, after=asked.after, limit=limit
        ),
        asked.limit,
    )


def _get_balance(landscape: Landscape, asked: given.RunArguments) -> str:
    return answer_text(landscape.balance(asked.run_id))


def _verify_run(landscape: Landscape, asked: given.RunArguments) -> str:
    report = landscape.verify(asked.run_id)
    return answer_text({"is_clean": report.is_clean, "report": report})


def _query(landscape: Landscape, asked: given.QueryArguments) -> str:
    return answer_text(run_query(landscape.database, asked.sql, rows_max=asked.limit))


TOOLS: Final[tuple[Tool, ...]] = (
    Tool(
        "list_runs",
        "The runs, latest first, each with its status and latest attempt.",
        given.PageArguments,
        _list_runs,
    ),
    Tool(
        "get_run",
        "One run at a glance: status, attempts, nodes with rows, pools, usage and cost, how its tokens ended, "
        "failures, joins, batches, files.",
        given.RunArguments,
        _get_run,
    ),
    Tool(
        "get_node_states",
        "Visits of tokens to nodes in the order of the rows, with what was recorded about each: status, hashes, the "
        "pool's order, a join's arrivals, the error.",
        given.StatesArguments,
        _get_node_states,
    ),
    Tool(
        "explain_token",
        "The whole story of one token: its parents and children, every visit with the row before and after, prompts "
        "and answers, decisions with the values they saw, and how it ended.",
        given.TokenArguments,
        _explain_token,
    ),
    Tool(
        "explain_row",
        "The whole story of one row of the source, with every token that came of it; as explain_token.",
        given.RowArguments,
        _explain_row,
    ),
    Tool(
        "get_calls",
        "The model calls made under one state, with requests and responses.",
        given.CallsArguments,
        _get_calls,
    ),
    Tool(
        "get_failures",
        "What failed in a run, by node and code, each with examples; quarantined source rows too.",
        given.RunArguments,
        _get_failures,
    ),
    Tool(
        "get_pool_stats",
        "What each pool did: size, most requests in flight, retries, delays.",
        given.NodeArguments,
        _get_pool_stats,
    ),
    Tool(
        "get_coalesce_events",
        "What each join decided: policy, order of arrival, lost branches, wait, the merged token.",
        given.EventsArguments,
        _get_coalesce_events,
    ),
    Tool(
        "get_balance",
        "Tokens created, ended and waiting, of the run and of each node: nothing lost, nothing doubled.",
        given.RunArguments,
        _get_balance,
    ),
    Tool(
        "verify_run",
        "Recompute every hash and sweep for anything lost, doubled or changed. May take minutes for a large run.",
        given.RunArguments,
        _verify_run,
    ),
    Tool(
        "query",
        "One read-only SELECT on the Landscape's tables (runs, run_attempts, nodes, edges, node_executions, rows, "
        "tokens, token_parents, node_states, calls, routing_events, coalesce_events, batches, batch_members, "
        "batch_outputs, token_outcomes, validation_errors, artifacts, seals, payloads), at most 1,000 rows and 10 s.",
        given.QueryArguments,
        _query,
    ),
)
