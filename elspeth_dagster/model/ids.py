"""Readable ids that are the same on every attempt, so that writing the same work again is no new record.

Order is never read from an id: `order_key` bytes carry it, and compare as the tokens should be ordered.
"""

from __future__ import annotations

from itertools import chain, count

RUN_KEY_CHARS_MIN = 8


def run_key(run_id: str, *, taken: frozenset[str] = frozenset()) -> str:
    """The shortest prefix of ``run_id``, at least eight characters, that no other run has; or, if all are taken,
    the whole with a number.
    """
    prefixes = (
        run_id[:length] for length in range(RUN_KEY_CHARS_MIN, max(RUN_KEY_CHARS_MIN, len(run_id)) + 1)
    )
    numbered = (f"{run_id}~{number}" for number in count(2))
    return next(key for key in chain(prefixes, numbered) if key not in taken)


def row_id(key: str, row_index: int) -> str:
    """``<run_key>-<row index>``, the index in nine digits."""
    return f"{key}-{row_index:09d}"


def state_id(token_id: str, node_id: str, attempt: int) -> str:
    """``<token>@<node>``, with ``~<attempt>`` from the second attempt on."""
    return f"{token_id}@{node_id}" if attempt == 1 else f"{token_id}@{node_id}~{attempt}"


def call_id(state: str, call_index: int) -> str:
    """``<state>#<call index>``."""
    return f"{state}#{call_index}"


def execution_id(key: str, node_id: str, attempt: int) -> str:
    """``<run_key>/<node>``, with ``~<attempt>`` from the second execution on."""
    return f"{key}/{node_id}" if attempt == 1 else f"{key}/{node_id}~{attempt}"


def outcome_id(token_id: str, outcome: str) -> str:
    """``<token>!<outcome>``."""
    return f"{token_id}!{outcome}"


def adopted_token_id(key: str, token_id: str) -> str:
    """``<run_key>:<token>``: a token of an earlier run, in this one."""
    return f"{key}:{token_id}"


def branch_token_id(parent: str, branch: str) -> str:
    """``<parent>/<branch>``: what a fork sends down a branch."""
    return f"{parent}/{branch}"


def item_token_id(parent: str, item_index: int) -> str:
    """``<parent>/<item>``: what an expand makes of one element, or an aggregate of a batch."""
    return f"{parent}/{item_index}"


def merged_token_id(parent: str, node_id: str) -> str:
    """``<forked parent>/join:<node>``: what a coalesce makes of the branches."""
    return f"{parent}/join:{node_id}"


def batch_id(key: str, node_id: str, index: int) -> str:
    """``<run_key>/<node>#<index>``, in the order in which a node's batches fired; its outputs are its items."""
    return f"{key}/{node_id}#{index}"


def coalesce_event_id(parent: str, node_id: str) -> str:
    """``<forked parent>&<node>``: one decision of a join."""
    return f"{parent}&{node_id}"


def row_order_key(row_index: int) -> bytes:
    """Eight bytes, big-endian: they compare as the indices do."""
    return row_index.to_bytes(8, "big")


# What comes of a token stands behind it, and no two tokens of a run have the same key: a token is forked, expanded or
# batched once; and what a join makes of a fork's branches comes after all of them.

BRANCHES_MAX = 0x80
"""Of one fork; and joins of one pipeline: each has a byte's half of the order."""


def branch_order_key(parent: bytes, branch_index: int) -> bytes:
    """Behind the forked parent, in the declared order of its branches."""
    return parent + branch_index.to_bytes(1, "big")


def merged_order_key(parent: bytes, join_index: int) -> bytes:
    """Behind all branches of the forked parent; ``join_index`` counts the pipeline's joins."""
    return parent + (BRANCHES_MAX + join_index).to_bytes(1, "big")


def item_order_key(parent: bytes, item_index: int) -> bytes:
    """Behind the parent (of a batch, its last member), in the order of the items."""
    return parent + item_index.to_bytes(4, "big")
