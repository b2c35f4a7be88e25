"""An interrupt is told of at once, once, whoever handles it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from elspeth_dagster.cli.stopping import told_at_once

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handled() -> Iterator[list[int]]:
    """Somebody else handles the signals, as Dagster does while a run is under way."""
    seen: list[int] = []
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in HANDLED}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_is_told_and_still_handled(number: signal.Signals, handled: list[int]) -> None:
    told = threading.Semaphore(0)
    with told_at_once(told.release):
        signal.raise_signal(number)
        assert told.acquire(timeout=30)
        signal.raise_signal(number)
    assert not told.acquire(blocking=False)
    assert handled == [number, number]


def test_another_signal_is_none() -> None:
    told: list[str] = []
    with told_at_once(lambda: told.append("told")):
        signal.raise_signal(signal.SIGUSR1)
    assert told == []


def test_nothing_is_left_behind() -> None:
    before = threading.active_count()
    with told_at_once(lambda: None):
        pass
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_the_main_thread_nothing_is_watched() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with told_at_once(lambda: None):
                pass
        except BaseException as error:  # noqa: BLE001 - a thread's error is seen here or nowhere
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
