"""Bring together what belongs together at a join: each forked token, and those of its branches that wait here.

A merge of ordered streams: what came of a forked token has its order key as a prefix, so its group is what stands next
in the merged stream. Memory holds a page of each branch, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.forked import Forked
from elspeth_dagster.model.token import Token

BranchOf = Mapping[tuple[str, str], str]
"""The branch that ends with a node's port."""


@dataclass(frozen=True, slots=True)
class Group:
    """A forked token and the tokens of its branches that arrived, by branch."""

    forked: Forked
    tokens: Mapping[str, Token]


class Grouping:
    """Takes from one ordered stream of waiting tokens, group by group."""

    def __init__(self, tokens: Iterator[Token], branch_of: BranchOf, *, join_id: str) -> None:
        self._tokens = tokens
        self._branch_of = branch_of
        self._join_id = join_id
        self._next = next(tokens, None)

    def group(self, forked: Forked) -> Group:
        """The group of ``forked``; groups are asked for in order.

        Raises:
            NodeStoppedError: a token that belongs to no branch waits here, or two of the same branch.
        """
        found: dict[str, Token] = {}
        while (token := self._next) is not None and token.order_key.startswith(forked.order_key):
            branch = self._branch_of.get((token.from_node_id, token.port))
            if branch is None or token.branch != branch:
                raise self._stray(token)
            if branch in found:
                raise self._twice(forked, branch, found[branch], token)
            found[branch] = token
            self._next = next(self._tokens, None)
        if token is not None and token.order_key < forked.order_key:
            raise self._stray(token)
        return Group(forked, found)

    def finish(self) -> None:
        """Make sure that nobody is left.

        Raises:
            NodeStoppedError: a token waits that belongs to no forked row.
        """
        if self._next is not None:
            raise self._stray(self._next)

    def _stray(self, token: Token) -> NodeStoppedError:
        on = f"on branch {token.branch!r}" if token.branch else "on no branch"
        return NodeStoppedError(
            f"Token {token.token_id} came from {token.from_node_id!r} {on}: it belongs to no fork that is joined here.",
            code="no_branch",
            where=f"step {self._join_id!r}",
            hint="a join takes only what its fork has split; run `elspeth-dagster verify`",
        )

    def _twice(self, forked: Forked, branch: str, one: Token, other: Token) -> NodeStoppedError:
        return NodeStoppedError(
            f"Branch {branch!r} of {forked.token_id} arrived twice: as {one.token_id} and as {other.token_id}.",
            code="branch_arrived_twice",
            where=f"step {self._join_id!r}",
            hint="a branch hands on one row for each that was forked; run `elspeth-dagster verify`",
        )
