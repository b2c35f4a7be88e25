"""Capacity and transient errors: what is tried again, when, and how it ends; in virtual time."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Callable

import pytest

from elspeth_dagster.errors import CapacityError, TransientError
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from tests.pooling.virtual_time import EPOCH, VirtualPool, after, in_virtual_time, rows

THROTTLES = ["fixed", "aimd", "adaptive"]


class Server:
    """Answers call ``n`` (from 0) with what ``verdict(n, now)`` raises, else with success; keeps the times."""

    def __init__(self, verdict: Callable[[int, float], Exception | None], *, latency_s: float = 0.0) -> None:
        self.verdict = verdict
        self.latency_s = latency_s
        self.calls: list[tuple[float, int]] = []

    async def __call__(self, row: int, state_id: str) -> RowResult[int]:
        now_s = asyncio.get_running_loop().time()
        error = self.verdict(len(self.calls), now_s)
        self.calls.append((now_s, row))
        await asyncio.sleep(self.latency_s)
        if error is not None:
            raise error
        return Succeeded(row)


def busy(headers: dict[str, str] | None = None) -> CapacityError:
    return CapacityError("busy with secrets", status_code=429, error_type="RateLimitError", headers=headers)


@pytest.mark.parametrize("throttle", THROTTLES)
def test_a_capacity_error_is_retried_until_it_succeeds(throttle: str) -> None:
    server = Server(lambda n, _: busy() if n < 3 else None, latency_s=0.1)

    async def scenario() -> None:
        pool = VirtualPool(throttle=throttle, pool_size=2)
        entries = await pool.run(rows(4), server)
        assert [entry.result for entry in entries] == [Succeeded(n) for n in range(4)]
        assert pool.stats()["pool_stats"]["capacity_retries"] == 3
        assert pool.stats()["pool_stats"]["successes"] == 4

    in_virtual_time(scenario)


@pytest.mark.parametrize("throttle", THROTTLES)
@pytest.mark.parametrize("latency_s", [0.0, 0.3])
def test_429_for_ever_ends_every_row_at_its_budget_and_never_hangs(throttle: str, latency_s: float) -> None:
    server = Server(lambda _n, _now: busy(), latency_s=latency_s)

    async def scenario() -> None:
        pool = VirtualPool(throttle=throttle, pool_size=4, max_capacity_retry_seconds=60)
        entries = await pool.run(rows(8), server)

        assert len(entries) == 8
        for entry in entries:
            result = entry.result
            assert isinstance(result, Rejected)
            assert result.reason == "retry_timeout"
            assert result.facts["status_code"] == 429
            assert result.facts["error_type"] == "RateLimitError"
            assert result.facts["max_seconds"] == 60
            elapsed_s = result.facts["elapsed_seconds"]
            assert isinstance(elapsed_s, float)
            assert 60 <= elapsed_s <= 60 + latency_s + 1e-6
            assert result.detail == {"error": "busy with secrets"}
            assert "secrets" not in result.message

    in_virtual_time(scenario)
    assert len(server.calls) < 8 * 60 * 10


def test_the_last_wait_is_cut_to_the_budget() -> None:
    server = Server(lambda _n, _now: busy(dict(after(1e9))))

    async def scenario() -> float:
        pool = VirtualPool(max_capacity_retry_seconds=7.5)
        (entry,) = await pool.run(rows(1), server)
        assert isinstance(entry.result, Rejected)
        assert entry.result.facts["elapsed_seconds"] == 7.5
        assert pool.stats()["pool_stats"]["total_throttle_time_ms"] == pytest.approx(7500)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario) == pytest.approx(7.5)
    assert len(server.calls) == 1  # and the wait that the server asked for was not broken by another try


def test_the_budget_is_measured_from_the_first_dispatch_not_from_submission() -> None:
    server = Server(lambda _n, now: busy() if now >= 10 else None, latency_s=10)

    async def scenario() -> None:
        pool = VirtualPool(max_capacity_retry_seconds=15, throttle="aimd")
        first, second = await pool.run(rows(2), server)
        assert first.result == Succeeded(0)
        assert isinstance(second.result, Rejected)
        assert second.result.facts["elapsed_seconds"] == pytest.approx(20)  # a call of 10 s, and another

    in_virtual_time(scenario)


def test_a_row_waiting_for_its_turn_ends_when_its_budget_does() -> None:
    """The pace is slower than the budget: the row is due, but may not be sent in time."""
    server = Server(lambda n, _: busy() if n == 0 else None)

    async def scenario() -> float:
        pool = VirtualPool(
            throttle="fixed",
            min_dispatch_delay_ms=60_000,
            max_dispatch_delay_ms=60_000,
            max_capacity_retry_seconds=2,
        )
        (entry,) = await pool.run(rows(1), server)
        assert isinstance(entry.result, Rejected)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario) == pytest.approx(2)


@pytest.mark.parametrize("throttle", THROTTLES)
@pytest.mark.parametrize("wait_s", [0.3, 4, 90])
def test_retry_after_holds_the_row_never_less_and_gives_its_slot_back(throttle: str, wait_s: float) -> None:
    server = Server(lambda n, _: busy(dict(after(wait_s))) if n == 0 else None, latency_s=0.1)

    async def scenario() -> None:
        pool = VirtualPool(throttle=throttle, pool_size=1)
        entries = await pool.run(rows(3), server)
        assert [entry.result for entry in entries] == [Succeeded(n) for n in range(3)]

    in_virtual_time(scenario)
    again_s = next(at_s for at_s, row in server.calls[1:] if row == 0)
    assert 0.1 + wait_s <= again_s
    if wait_s == 90:
        assert [row for _, row in server.calls] == [0, 1, 2, 0]
        assert again_s < 0.1 + wait_s + 0.1


def test_retry_after_as_a_date_is_held_to_the_instant_it_names() -> None:
    date = email.utils.format_datetime(EPOCH.replace(second=20), usegmt=True)
    server = Server(lambda n, _: busy({"retry-after": date}) if n == 0 else None, latency_s=0.1)

    in_virtual_time(lambda: VirtualPool(throttle="aimd").run(rows(1), server))

    assert server.calls[1][0] == pytest.approx(20)
    assert server.calls[1][0] >= 20


def test_a_rejected_row_goes_before_fresh_ones_when_it_is_due() -> None:
    server = Server(lambda n, _: busy(dict(after(0.25))) if n == 1 else None, latency_s=0.1)

    in_virtual_time(lambda: VirtualPool(throttle="aimd", recovery_step_ms=0.001).run(rows(6), server))

    assert [row for _, row in server.calls] == [0, 1, 2, 3, 4, 1, 5]  # due while 4 was in flight


@pytest.mark.parametrize(
    "error", [TransientError("reset", error_type="ConnectionResetError"), TimeoutError("read")]
)
def test_transient_errors_are_retried_a_bounded_number_of_times(error: Exception) -> None:
    server = Server(lambda _n, _now: error)

    async def scenario() -> None:
        (entry,) = await VirtualPool(transient_attempts=4).run(rows(1), server)
        result = entry.result
        assert isinstance(result, Rejected)
        assert result.reason == "transient_retries_exhausted"
        assert result.facts["attempts"] == 4
        assert result.facts["status_code"] is None
        assert result.facts["error_type"] == getattr(error, "error_type", "TimeoutError")

    in_virtual_time(scenario)
    waits_s = [
        round(late[0] - early[0], 6) for early, late in zip(server.calls, server.calls[1:], strict=False)
    ]
    assert waits_s == [0.25, 0.5, 1.0]


def test_a_transient_error_that_passes_costs_one_retry_and_no_pace() -> None:
    server = Server(lambda n, _: TransientError("oops", status_code=500) if n == 0 else None)

    async def scenario() -> None:
        pool = VirtualPool(throttle="aimd")
        entries = await pool.run(rows(3), server)
        assert [entry.result for entry in entries] == [Succeeded(n) for n in range(3)]
        assert pool.stats()["pool_stats"]["peak_delay_ms"] == 0
        assert pool.stats()["pool_stats"]["capacity_retries"] == 0

    in_virtual_time(scenario)


def test_transient_retries_stay_within_the_rows_budget() -> None:
    server = Server(lambda _n, _now: TransientError("oops", status_code=502))

    async def scenario() -> float:
        pool = VirtualPool(transient_attempts=100, max_capacity_retry_seconds=20)
        (entry,) = await pool.run(rows(1), server)
        assert isinstance(entry.result, Rejected)
        assert entry.result.reason == "transient_retries_exhausted"
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario) == pytest.approx(20)


def test_a_fixed_pace_backs_each_row_off_instead() -> None:
    server = Server(lambda n, _: busy() if n < 5 else None)

    in_virtual_time(lambda: VirtualPool(throttle="fixed").run(rows(1), server))

    assert [round(at_s, 6) for at_s, _ in server.calls] == [0, 0.25, 0.75, 1.75, 3.75, 7.75]
