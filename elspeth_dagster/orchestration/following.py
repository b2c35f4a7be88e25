"""A step that no signal reaches looks by itself whether its run is ending."""

from __future__ import annotations

from typing import Final

from dagster import DagsterInstance, DagsterRunStatus

from elspeth_dagster.runtime.interrupt import Stop

FOLLOW_S: Final = 0.25
"""How often: a question of a millisecond to Dagster's storage."""

_UNSIGNALLED: Final = frozenset({"celery"})
"""The executors whose steps get no signal when their run is terminated."""


def is_unsignalled(executor: str) -> bool:
    """Whether steps of this executor must look by themselves."""
    return executor in _UNSIGNALLED


class Following:
    """Sets ``stop`` once the run is being cancelled, or has ended without this step."""

    def __init__(self, instance: DagsterInstance, run_id: str, stop: Stop) -> None:
        self._instance, self._run_id, self._stop = instance, run_id, stop

    def tick(self) -> None:
        """Look once; nothing more to see after a stop."""
        if self._stop.is_set():
            return
        run = self._instance.get_run_by_id(self._run_id)
        if run is None or run.is_finished or run.status is DagsterRunStatus.CANCELING:
            self._stop.set()
