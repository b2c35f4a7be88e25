"""`fork`: every row goes down all branches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT, OUT_PORT
from elspeth_dagster.nodes.base import Columns, Home, Mistake, StepConfig
from elspeth_dagster.nodes.source import DISCARD

BRANCHES_MAX: Final = 100
"""Of one fork: each has a place in a byte of the order; a table of that many steps is no drawing any more."""

_PORT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_RESERVED: Final = frozenset({OUT_PORT, ERROR_PORT, INVALID_PORT, DISCARD})


class ForkConfig(StepConfig):
    """The parent ends `forked`; each branch gets a token of its own with the same row."""

    kind: Literal["fork"]
    branches: list[str] = Field(
        min_length=2,
        max_length=BRANCHES_MAX,
        description="The names of its ports, taken as `<fork>.<branch>`. Their order is that of a join's ties.",
    )

    def ports(self) -> tuple[str, ...]:
        """The branches in order."""
        return tuple(dict.fromkeys(self.branches))

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Names that cannot be, or that are there twice."""
        yield from super().mistakes(columns, home)
        for index, name in enumerate(self.branches):
            path = ("branches", index)
            if name in self.branches[:index]:
                yield Mistake(path, f"Branch {name!r} is named twice.")
            yield from port_name_mistakes(name, path)


def port_name_mistakes(name: str, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    """A port that cannot be called so."""
    if not _PORT_NAME.fullmatch(name):
        yield Mistake(
            path,
            f"Port {name!r} must be lower case letters, digits and underscores, at most 60: [a-z][a-z0-9_]*.",
        )
    elif name in _RESERVED:
        yield Mistake(path, f"Port name {name!r} has a meaning of its own; choose another.")
