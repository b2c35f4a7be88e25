"""A token: one instance of a row on one path."""

from __future__ import annotations

from typing import NamedTuple


class Token(NamedTuple):
    """A token that waits at a node, with the row it carries.

    ``body`` is the row's canonical JSON and ``row_hash`` its salted hash; ``port`` is where it left the node before.
    ``error_json`` is set when it left that node as a failed row; ``completed_at`` is when it left (a source: None).
    ``branch`` is the innermost branch that it is on.

    A tuple, since one is made for each row at each node: a frozen dataclass takes twice as long to make.
    """

    token_id: str
    row_id: str | None
    order_key: bytes
    salt_id: str
    salt: bytes
    port: str
    from_node_id: str
    row_hash: bytes
    body: bytes
    error_json: str | None = None
    branch: str | None = None
    completed_at: str | None = None
