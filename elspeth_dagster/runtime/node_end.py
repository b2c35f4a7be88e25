"""The end of an execution: its counts and why it ended, sealed; how it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from elspeth_dagster.errors import (
    ElspethError,
    FenceLostError,
    LandscapeError,
    ModelUnusableError,
    NodeStoppedError,
)
from elspeth_dagster.landscape.executions import ended_execution
from elspeth_dagster.landscape.seals import Seal, end_sealed
from elspeth_dagster.model.outcome import ExecutionStatus
from elspeth_dagster.model.row import JSON
from elspeth_dagster.runtime.work import Work


def end_well(work: Work, seconds: float) -> Seal:
    """Record that the execution was completed."""
    return _end(work, ExecutionStatus.COMPLETED, seconds, None)


def end_badly(work: Work, error: BaseException, seconds: float, *, on_seal: Callable[[Seal], object]) -> None:
    """Record why the execution ended, unless the Landscape itself is why."""
    if isinstance(error, FenceLostError) or work.handle.failure is not None:
        return  # whoever took over, or comes next, closes what is open
    interrupted = not isinstance(error, Exception) or getattr(error, "reason", None) == "interrupted"
    status = ExecutionStatus.INTERRUPTED if interrupted else ExecutionStatus.FAILED
    evidence: dict[str, JSON] = {"code": _code(error), "error_type": type(error).__name__}
    try:
        on_seal(_end(work, status, seconds, evidence))
    except LandscapeError as second:
        error.add_note(f"The execution's end could not be recorded: {second}")


def unusable(work: Work, error: ModelUnusableError) -> NodeStoppedError:
    """A model that cannot be used stops the node, with the provider's reason."""
    return NodeStoppedError(
        f"The model cannot be used: {error.what}",
        code=f"model_unusable_{error.status_code}" if error.status_code else "model_unusable",
        where=f"step {work.node.node_id!r}",
        hint=f"{error.hint or 'mend the key, the name or the address of the model'}; then resume: no row was lost",
    )


def _end(
    work: Work,
    status: ExecutionStatus,
    seconds: float,
    error: Mapping[str, JSON] | None,
) -> Seal:
    tally, now = work.tally, work.now()
    end = ended_execution(
        work.handle,
        status,
        rows_in=tally.rows_in,
        rows_out=tally.rows_out,
        rows_failed=tally.rows_failed,
        rows_reused=tally.rows_reused,
        pool_stats=work.pool_stats,
        usage=tally.usage(),
        metrics=tally.metrics(seconds=seconds),
        error=error,
        now=now,
    )
    work.handle.progress_told_s = float("-inf")  # the last word on progress goes with the last record
    return end_sealed(work.database, work.writer, work.handle, end=end, now=now)


def _code(error: BaseException) -> str:
    if isinstance(error, NodeStoppedError):
        return error.reason
    if isinstance(error, ElspethError):
        return error.code
    return "interrupted" if not isinstance(error, Exception) else "unexpected"
