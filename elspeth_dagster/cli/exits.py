"""Exit statuses: what scripts rely on."""

from __future__ import annotations

from enum import IntEnum

from elspeth_dagster.model.outcome import RunStatus


class Exit(IntEnum):
    """How a command ended."""

    COMPLETE = 0
    FAILED = 1
    REFUSED = 2
    FAILED_ROWS = 3
    FINDINGS = 4
    INCOMPLETE = 5
    INTERRUPTED = 130


OF_STATUS = {
    RunStatus.COMPLETED: Exit.COMPLETE,
    RunStatus.COMPLETED_WITH_FAILURES: Exit.FAILED_ROWS,
    RunStatus.INCOMPLETE: Exit.INCOMPLETE,
    RunStatus.FAILED: Exit.FAILED,
    RunStatus.RUNNING: Exit.FAILED,
    RunStatus.INTERRUPTED: Exit.INTERRUPTED,
}
"""The exit status of a command that ran a pipeline. ``RUNNING`` cannot be left by one that ended."""
