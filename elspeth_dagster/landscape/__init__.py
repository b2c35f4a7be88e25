"""The Landscape, the audit database. Programs that read it start here::

with Landscape.open("sqlite:///.elspeth/landscape.db") as landscape:
    story = landscape.explain_row("1f0c9a52", 42)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elspeth_dagster.landscape.facade import Landscape
    from elspeth_dagster.landscape.lineage import Direction
    from elspeth_dagster.landscape.paging import Page

__all__ = ["Direction", "Landscape", "Page"]


def __getattr__(name: str) -> object:
    """Import the readers when they are asked for: a step that only writes starts without them."""
    if name == "Landscape":
        from elspeth_dagster.landscape.facade import Landscape  # noqa: PLC0415

        return Landscape
    if name == "Direction":
        from elspeth_dagster.landscape.lineage import Direction  # noqa: PLC0415

        return Direction
    if name == "Page":
        from elspeth_dagster.landscape.paging import Page  # noqa: PLC0415

        return Page
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
