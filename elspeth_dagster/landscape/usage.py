"""What a node asked of models over all its executions: calls by how they ended, tokens, cost.

An execution that was killed left no numbers of its own: they are counted from its calls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.schema import calls

Execution = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls by how they ended, failed ones by cause; tokens and cost of the answers.

    ``cost_usd`` is None where no answer had a price; ``unpriced_answers`` are missing from it.
    """

    answered: int
    failed: int
    unknown: int
    reused: int
    failed_by_cause: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    unpriced_answers: int


def usage_of(connection: Connection, kind: str, executions: Sequence[Execution]) -> Usage | None:
    """The usage of a node; None of one that asks no model."""
    return _usage(connection, executions) if kind == "llm" or _made_calls(connection, executions) else None


def _made_calls(connection: Connection, executions: Sequence[Execution]) -> bool:
    """Whether a node of any kind asked a model: an aggregate may. One that was killed left only its calls."""
    if any(one.usage_json is not None for one in executions):
        return True
    killed = [one.execution_id for one in executions if one.metrics_json is None]
    if not killed:
        return False
    question = sa.select(sa.literal(1)).where(calls.c.execution_id.in_(killed)).limit(1)
    return connection.execute(question).first() is not None


def _usage(connection: Connection, executions: Sequence[Execution]) -> Usage:
    ended: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    cost_usd: float | None = None
    for execution in executions:
        if execution.metrics_json is None:
            found = _counted_calls(connection, execution.execution_id)
        else:
            found = json.loads(execution.usage_json or "{}")
        ended.update(found.get("calls", {}))
        tokens.update({name: found.get(name, 0) for name in _SUMS})
        if found.get("cost_usd") is not None:
            cost_usd = (cost_usd or 0.0) + found["cost_usd"]
    named = {name: ended.pop(name, 0) for name in ("answered", "failed", "unknown", "reused")}
    # A successor closes the calls of an execution that was killed: its own tally does not know them.
    named["unknown"] = max(named["unknown"], _unknown_calls(connection, executions))
    return Usage(
        **named,
        failed_by_cause=dict(ended.most_common()),
        prompt_tokens=tokens["prompt_tokens"],
        completion_tokens=tokens["completion_tokens"],
        cost_usd=cost_usd,
        unpriced_answers=tokens["unpriced_answers"],
    )


_SUMS = ("prompt_tokens", "completion_tokens", "unpriced_answers")


def _counted_calls(connection: Connection, execution_id: str) -> dict[str, Any]:
    """What an execution without numbers of its own asked and got, in the form of `usage_json`."""
    reused = calls.c.reused_from.is_not(None)
    question = (
        sa.select(
            calls.c.status, calls.c.http_status, reused, sa.func.count(), sa.func.sum(calls.c.prompt_tokens),
            sa.func.sum(calls.c.completion_tokens), sa.func.sum(calls.c.cost_usd), sa.func.count(calls.c.cost_usd),
        )
        .where(calls.c.execution_id == execution_id)
        .group_by(calls.c.status, calls.c.http_status, reused)
    )  # fmt: skip
    ended: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    cost_usd: float | None = None
    for status, http_status, is_reused, count, prompt, completion, cost, priced in connection.execute(
        question
    ):
        ended["reused" if is_reused else status] += count
        if is_reused:
            continue
        if status == "failed":
            ended[f"http_{http_status}" if http_status else "no_response"] += count
        if status == "answered":
            sums.update(
                prompt_tokens=prompt or 0, completion_tokens=completion or 0, unpriced_answers=count - priced
            )
        cost_usd = cost_usd if cost is None else (cost_usd or 0.0) + cost
    return {"calls": dict(ended), "cost_usd": cost_usd, **sums}


def _unknown_calls(connection: Connection, executions: Sequence[Execution]) -> int:
    if len(executions) < 2:  # noqa: PLR2004 - a first execution's own tally is all there is
        return 0
    question = (
        sa.select(sa.func.count())
        .select_from(calls)
        .where(
            calls.c.execution_id.in_([one.execution_id for one in executions]), calls.c.status == "unknown"
        )
    )
    return int(connection.execute(question).scalar_one())
