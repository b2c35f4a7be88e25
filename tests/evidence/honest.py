"""One honest run, made by hand, in which everything happens once: a record of every kind, and every way to end.

    source --out--> split --left--> judge --out--> joined --out--> triage --urgent--> urgent
       |              |               |              |               +---normal----> pairs --> items --> totals
       |              +----right--> tidy ----------> +
       |                              +---error---> failures
       +--invalid--> bad

Row 1 is urgent, rows 0, 2 and 3 are normal and make two batches, row 4 is invalid, and row 5 fails at `judge`, so that
its other branch fails at the join. The first execution of `judge` dies in the middle; a second Dagster run goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.records import closed, opened
from elspeth_dagster.model import ids
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON
from tests.evidence.making import KEY, RUN_ID, SECOND, At, HonestRun, Tok, as_json
from tests.landscape.material import NOW

__all__ = ["RUN_ID", "SECOND", "honest_run"]

INVALID, LOST, URGENT = 4, 5, 1
VALID = (0, 1, 2, 3, 5)


def honest_run(database: Database, folder: Path) -> HonestRun:
    """Make the whole run; its sinks' files are in ``folder``."""
    making = HonestRun(database, folder)
    try:
        roots = _source(making)
        left, right = _split(making, roots)
        judged = _judge(making, left)
        tidied = _tidy(making, right)
        merged = _join(making, roots, judged, tidied)
        _triage(making, merged)
        made = _items(making, _pairs(making, [merged[0], merged[2], merged[3]]))
        _sink(making, "urgent", [merged[URGENT]], "routed")
        _sink(making, "totals", made, "completed")
        _sink(making, "failures", [left[LOST]], "routed", code="content_filtered")
        _sink(making, "bad", [roots[INVALID]], "quarantined", code="wrong_type")
        making.close_attempt(RunStatus.COMPLETED_WITH_FAILURES)
    finally:
        making.close()
    return making


def _source(making: HonestRun) -> dict[int, Tok]:
    roots: dict[int, Tok] = {}
    with making.at("source") as at:
        for index in range(6):
            row_id = ids.row_id(KEY, index)
            token = Tok(row_id, row_id, ids.row_order_key(index), row_id, {"id": index})
            roots[index] = token
            at.unit.insert("row_salts", (row_id, RUN_ID, token.salt))
            digest = at.keep(token, token.body)
            port = "invalid" if index == INVALID else "out"
            at.insert("rows", row_id, RUN_ID, "source", index, port, digest)
            at.insert("tokens", row_id, RUN_ID, row_id, token.order_key, None, "source", row_id)
        bad = ids.row_id(KEY, INVALID)
        at.insert("validation_errors", f"{bad}?0", RUN_ID, bad, "id", "int", "str", "wrong_type")
    return roots


def _split(making: HonestRun, roots: Mapping[int, Tok]) -> tuple[dict[int, Tok], dict[int, Tok]]:
    branches: dict[str, dict[int, Tok]] = {"left": {}, "right": {}}
    with making.at("split") as at:
        for index in VALID:
            parent = roots[index]
            at.state(parent, port=None)
            at.end(parent, "forked")
            for number, (branch, made) in enumerate(branches.items()):
                made[index] = replace(
                    parent,
                    token_id=ids.branch_token_id(parent.token_id, branch),
                    order_key=ids.branch_order_key(parent.order_key, number),
                )
                at.make(made[index], [parent], "fork", port=branch, branch=branch)
    return branches["left"], branches["right"]


def _judge(making: HonestRun, left: Mapping[int, Tok]) -> dict[int, Tok]:
    first = making.begin("judge")
    for index in (0, 2):
        state = first.open_state(left[index])
        call = first.open_call(state, left[index], 0)
        first.unit.insert("node_states", state)
        first.unit.insert("calls", first.answered(call, left[index]) if index == 0 else call)
    making.store(first)
    making.go_on()
    pool: dict[str, JSON] = {
        "pool_config": {
            "pool_size": 2,
            "max_capacity_retry_seconds": 60,
            "dispatch_delay_at_completion_ms": 0,
        },
        "pool_stats": {"successes": 4, "max_concurrent_reached": 2},
    }
    judged: dict[int, Tok] = {}
    with making.at("judge", pool=pool) as at:
        for index in VALID:
            mood = "angry" if index == URGENT else "calm"
            judged[index] = replace(left[index], row={**left[index].row, "mood": mood})
            _judge_one(at, left[index], judged[index], index)
    return judged


def _judge_one(at: At, token: Tok, judged: Tok, index: int) -> None:
    attempt = 2 if index in {0, 2} else 1
    state = at.open_state(token, attempt=attempt)
    call = at.open_call(state, token, 0)
    if index == 0:  # its answer was paid for before the first execution died
        earlier = ids.call_id(ids.state_id(token.token_id, "judge", 1), 0)
        at.unit.insert("calls", at.answered(call, token, reused_from=earlier))
        at.state(token, port="out", out=judged, attempt=attempt)
        return
    order = {1: (0, 1), 2: (1, 0), 3: (2, 2), LOST: (3, 3)}[index]
    context: dict[str, JSON] = {
        "pool": {
            "submit_index": order[0],
            "complete_index": order[1],
            "buffer_wait_ms": 0.5,
            "submit_offset_ms": 10.0 * order[0],
            "complete_offset_ms": 15.0 + 10.0 * order[1],
        }
    }
    at.unit.insert("calls", at.answered(call, token))
    if index == LOST:
        at.state(token, port="error", error={"code": "content_filtered"}, context=context, attempt=attempt)
    else:
        at.state(token, port="out", out=judged, context=context, attempt=attempt)


def _tidy(making: HonestRun, right: Mapping[int, Tok]) -> dict[int, Tok]:
    tidied = {index: replace(token, row={**token.row, "tidy": True}) for index, token in right.items()}
    with making.at("tidy") as at:
        for index, token in right.items():
            at.state(token, port="out", out=tidied[index])
    return tidied


def _join(
    making: HonestRun, roots: Mapping[int, Tok], judged: Mapping[int, Tok], tidied: Mapping[int, Tok]
) -> dict[int, Tok]:
    merged: dict[int, Tok] = {}
    with making.at("joined") as at:
        for index in VALID:
            parent = roots[index]
            held = (
                {"right": tidied[index]} if index == LOST else {"right": tidied[index], "left": judged[index]}
            )
            context = {"coalesce": joined_metadata(held)}
            event = ids.coalesce_event_id(parent.token_id, "joined")
            merged_id: str | None = None
            if index == LOST:
                at.state(held["right"], port=None, error={"code": "branch_lost"}, context=context)
                at.end(held["right"], "failed", code="branch_lost")
            else:
                token = replace(
                    parent,
                    token_id=ids.merged_token_id(parent.token_id, "joined"),
                    order_key=ids.merged_order_key(parent.order_key, 0),
                    row={**judged[index].row, **tidied[index].row},
                )
                merged_id, merged[index] = token.token_id, token
                at.make(token, list(held.values()), "join", port="out", branch=None)
                for one in held.values():
                    at.state(one, port=None, context=context)
                    at.end(one, "coalesced")
            at.insert(
                "coalesce_events", event, RUN_ID, "joined", parent.token_id, merged_id, "require_all", "union",
                as_json(joined_metadata(held)),
            )  # fmt: skip
    return merged


def joined_metadata(held: Mapping[str, Tok]) -> dict[str, JSON]:
    lost = [branch for branch in ("left", "right") if branch not in held]
    metadata: dict[str, JSON] = {
        "policy": "require_all",
        "merge_strategy": "union",
        "expected_branches": ["left", "right"],
        "branches_arrived": list(held),
        "branches_lost": {branch: {"code": "content_filtered", "node": "judge"} for branch in lost},
        "arrival_order": [
            {"branch": branch, "token_id": token.token_id, "arrival_offset_ms": 2.0 * place}
            for place, (branch, token) in enumerate(held.items())
        ],
        "wait_duration_ms": 2.0 * (len(held) - 1),
    }
    return metadata if not lost else {**metadata, "reason": "branch_lost"}


def _triage(making: HonestRun, merged: Mapping[int, Tok]) -> None:
    with making.at("triage") as at:
        for index, token in merged.items():
            port = "urgent" if index == URGENT else "normal"
            state_id = at.state(token, port=port, out=token)
            expression = "row.mood == 'angry'" if index == URGENT else None
            at.insert("routing_events", state_id, state_id, port, expression, expression is not None)


def _pairs(making: HonestRun, normal: Sequence[Tok]) -> list[Tok]:
    outputs = []
    with making.at("pairs") as at:
        for index, (members, trigger) in enumerate(((normal[:2], "count"), (normal[2:], "end_of_source"))):
            batch_id = f"{KEY}/pairs#{index}"
            output = Tok(
                f"{batch_id}/0",
                None,
                ids.item_order_key(members[-1].order_key, 0),
                batch_id,
                {"moods": [index, index]},
            )
            group_hash = at.keep(output, b'{"mood":"calm"}')
            at.unit.insert("row_salts", (batch_id, RUN_ID, output.salt))
            batch = opened(
                batch_id, RUN_ID, "pairs", index, group_hash, batch_id, trigger, "executing", len(members), None, 0.5,
                None, NOW, None, at.handle.execution_id,
            )  # fmt: skip
            at.unit.insert(
                "batches", closed("batches", batch, status="completed", output_count=1, completed_at=NOW)
            )
            for ordinal, token in enumerate(members):
                at.insert("batch_members", batch_id, ordinal, token.token_id)
                at.state(token, port=None, context={"batch": {"batch_id": batch_id, "ordinal": ordinal}})
                at.end(token, "consumed_in_batch")
            at.make(output, members, "batch", port="out", branch=None)
            at.insert("batch_outputs", batch_id, 0, output.token_id)
            outputs.append(output)
    return outputs


def _items(making: HonestRun, batches: Sequence[Tok]) -> list[Tok]:
    items = []
    with making.at("items") as at:
        for parent in batches:
            at.state(parent, port=None)
            at.end(parent, "expanded")
            for number in range(2):
                item = replace(
                    parent,
                    token_id=ids.item_token_id(parent.token_id, number),
                    order_key=ids.item_order_key(parent.order_key, number),
                    row={"mood": number, "item_index": number},
                )
                at.make(item, [parent], "expand", port="out", branch=None)
                items.append(item)
    return items


def _sink(
    making: HonestRun, name: str, tokens: Sequence[Tok], outcome: str, *, code: str | None = None
) -> None:
    content = b"".join(token.body + b"\n" for token in tokens)
    path = making.folder / f"{name}.jsonl"
    path.write_bytes(content)
    with making.at(name) as at:
        for token in tokens:
            at.state(token, port=None)
            at.end(token, outcome, sink=name, code=code)
        at.insert(
            "artifacts", f"{at.handle.execution_id}=", RUN_ID, name, path.as_uri(), hashlib.sha256(content).digest(),
            len(content), len(tokens), NOW,
        )  # fmt: skip
