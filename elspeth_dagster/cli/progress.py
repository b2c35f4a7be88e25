"""A bar for each node while a run is under way, on a terminal only.

Read from the Landscape through a connection of its own, in the thread with which rich redraws: the run itself is
never asked.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

from elspeth_dagster.cli.amounts import duration, rate
from elspeth_dagster.cli.stopping import told_at_once
from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.watching import NodeProgress, holder_of, progress_of
from elspeth_dagster.model.clock import timestamp
from elspeth_dagster.model.outcome import ExecutionStatus
from elspeth_dagster.pipeline import Pipeline

if TYPE_CHECKING:
    from rich.table import Table

REDRAWS_PER_S: Final = 4  # smooth to the eye, and each is one small query
BAR_COLUMNS: Final = 20
STOPPING: Final = "Stopping: calls in flight get 10 s to be recorded; interrupt again to end now."
_MARKS: Final = {
    ExecutionStatus.COMPLETED: ("✓", "green"),
    ExecutionStatus.FAILED: ("✗", "red"),
    ExecutionStatus.INTERRUPTED: ("✗", "yellow"),
}


@contextlib.contextmanager
def progress_bars(
    pipeline: Pipeline, landscape_url: str, *, screen: TextIO, run_id: str | None
) -> Iterator[None]:
    """Show how far the pipeline's nodes are, for as long as the context lasts.

    ``run_id`` is the run, where it is known; else the one that takes the pipeline from now on. Without a terminal, or
    without rich, nothing is shown.
    """
    if not screen.isatty():
        yield
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only a terminal needs it
        from rich.live import Live  # noqa: PLC0415
    except ImportError:
        yield
        return
    database = Database(landscape_url)
    bars = Bars(pipeline, database, run_id)
    console = Console(file=screen, highlight=False)
    try:
        with (
            Live(
                get_renderable=bars.render,
                console=console,
                refresh_per_second=REDRAWS_PER_S,
                redirect_stdout=False,
                redirect_stderr=False,
            ),
            told_at_once(lambda: console.print(STOPPING)),
        ):
            yield
    finally:
        database.dispose()


@dataclass(slots=True)
class Bars:
    """What was read last; only the drawing thread touches it."""

    pipeline: Pipeline
    database: Database
    run_id: str | None
    began_at: str = field(default_factory=lambda: timestamp(dt.datetime.now(dt.UTC)))
    nodes: dict[str, NodeProgress] = field(default_factory=dict)

    def render(self) -> Table:
        """The bars as they are now."""
        # A database that is busy or not there yet: the next redraw asks again.
        with contextlib.suppress(ElspethError):
            self._read()
        return self._table()

    def _read(self) -> None:
        if self.run_id is None:
            holder = holder_of(self.database, self.pipeline.name)
            if holder is None or holder.heartbeat_at < self.began_at:
                return
            self.run_id = holder.run_id
        self.nodes = progress_of(self.database, self.run_id)

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - as above
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table.grid(padding=(0, 1))
        for columns in (1, 8, BAR_COLUMNS):
            table.add_column(min_width=columns, no_wrap=True)
        for columns in (9, 9, 16):  # wide enough from the start: columns that grow make the bars jump
            table.add_column(justify="right", min_width=columns, no_wrap=True)
        for node_id in self.pipeline.nodes:
            node = self.nodes.get(node_id)
            if node is None:
                table.add_row(" ", Text(node_id, "dim"), ProgressBar(1, 0, width=BAR_COLUMNS), "", "", "")
                continue
            mark, style = _MARKS.get(node.status, (" ", ""))
            total = node.rows_done if node.status is ExecutionStatus.COMPLETED else node.rows_total
            is_whole = node.status is ExecutionStatus.COMPLETED
            bar = ProgressBar(
                total=1 if is_whole else total,
                completed=1 if is_whole else node.rows_done,
                width=BAR_COLUMNS,
                pulse=total is None,
                style="grey30",
                complete_style="cyan",
                finished_style="green",
            )
            failed = Text(f"{node.rows_failed:,} failed", "yellow") if node.rows_failed else Text()
            table.add_row(
                Text(mark, style), node_id, bar, _rows(node, total), failed, self._pace(node, total)
            )
        return table

    def _pace(self, node: NodeProgress, total: int | None) -> str:
        """Rows a second since the node began, and how long the rest takes at that pace."""
        if node.status is not ExecutionStatus.OPEN or not node.rows_done:
            return ""
        seconds = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(node.started_at)).total_seconds()
        if seconds <= 0:
            return ""
        per_second = node.rows_done / seconds
        left = "" if total is None else f", {duration(max(0, total - node.rows_done) / per_second)} left"
        return f"{rate(per_second)}/s{left}"


def _rows(node: NodeProgress, total: int | None) -> str:
    if total is None or node.status is ExecutionStatus.COMPLETED:
        return f"{node.rows_done:,}"
    return f"{node.rows_done:,}/{total:,}"
