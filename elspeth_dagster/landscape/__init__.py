"""The Landscape, the audit database. Programs that read it start here::

with Landscape.open("sqlite:///.elspeth/landscape.db") as landscape:
    story = landscape.explain_row("1f0c9a52", 42)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.landscape.facade import Landscape
    from elspeth_dagster.landscape.lineage import Direction
    from elspeth_dagster.landscape.paging import Page

__all__ = ["Direction", "Landscape", "Page"]

# A step that only writes starts without the readers.
__getattr__ = loader(__name__, {"facade": ["Landscape"], "lineage": ["Direction"], "paging": ["Page"]})
