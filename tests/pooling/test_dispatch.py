"""Order, bounds and pace of what a pool sends; in virtual time, without threads."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import CapacityError
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.pooling import report_headers
from tests.pooling.virtual_time import VirtualPool, in_virtual_time, rows


async def instant(row: int, state_id: str) -> RowResult[int]:
    return Succeeded(row)


async def of_20_ms(row: int, state_id: str) -> RowResult[int]:
    await asyncio.sleep(0.02)
    return Succeeded(row)


@given(st.lists(st.floats(0, 5), max_size=40), st.integers(1, 12))
def test_results_keep_the_order_of_submission_whatever_the_latencies(
    latencies_s: list[float], pool_size: int
) -> None:
    async def work(row: int, state_id: str) -> RowResult[str]:
        await asyncio.sleep(latencies_s[row])
        return Succeeded(state_id)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=pool_size)
        entries = await pool.run(rows(len(latencies_s)), work)

        assert [entry.submit_index for entry in entries] == list(range(len(latencies_s)))
        assert [entry.result for entry in entries] == [
            Succeeded(f"state-{n}") for n in range(len(latencies_s))
        ]
        assert sorted(entry.complete_index for entry in entries) == list(range(len(latencies_s)))
        by_completion = sorted(entries, key=lambda entry: entry.complete_index)
        ended = [entry.complete_timestamp for entry in by_completion]
        assert ended == sorted(ended)
        assert all(entry.buffer_wait_ms >= 0 for entry in entries)
        for entry in entries:
            assert entry.dispatch_timestamp is not None
            assert entry.submit_timestamp <= entry.dispatch_timestamp <= entry.complete_timestamp

    in_virtual_time(scenario)


@given(st.integers(1, 9), st.integers(0, 50))
def test_never_more_in_flight_than_the_pool_holds_and_all_of_it_is_used(pool_size: int, count: int) -> None:
    running = most = 0

    async def work(row: int, state_id: str) -> RowResult[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1 + row % 3)
        running -= 1
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=pool_size)
        await pool.run(rows(count), work)
        assert most == min(pool_size, count)
        assert pool.stats()["pool_stats"]["max_concurrent_reached"] == most

    in_virtual_time(scenario)


def test_a_hundred_rows_on_twenty_slots_take_five_latencies() -> None:
    async def scenario() -> float:
        await VirtualPool(pool_size=20).run(rows(100), of_20_ms)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario) == pytest.approx(0.1, abs=1e-6)


def test_four_batches_share_a_pool_at_the_same_time_and_never_mix() -> None:
    async def scenario() -> None:
        pool = VirtualPool(pool_size=40)
        results = await asyncio.gather(*(pool.run(rows(10), of_20_ms) for _ in range(4)))

        assert asyncio.get_running_loop().time() == pytest.approx(0.02, abs=1e-6)
        for entries in results:
            assert [entry.result for entry in entries] == [Succeeded(n) for n in range(10)]
            assert sorted(entry.complete_index for entry in entries) == list(range(10))

    in_virtual_time(scenario)


def test_batches_take_turns_so_a_short_one_does_not_wait_for_a_long_one() -> None:
    async def scenario() -> None:
        pool = VirtualPool(pool_size=2)
        long = asyncio.create_task(pool.run(rows(1000), of_20_ms))
        await asyncio.sleep(0.1)
        began_s = asyncio.get_running_loop().time()
        await pool.run(rows(5), of_20_ms)
        assert asyncio.get_running_loop().time() - began_s < 0.02 * 7
        assert [entry.submit_index for entry in await long] == list(range(1000))

    in_virtual_time(scenario)


@pytest.mark.parametrize("throttle", ["fixed", "aimd", "adaptive"])
def test_the_delay_spaces_first_tries_and_retries_alike(throttle: str) -> None:
    sent_s: list[float] = []

    async def work(row: int, state_id: str) -> RowResult[int]:
        sent_s.append(asyncio.get_running_loop().time())
        if len(sent_s) % 4 == 3:
            raise CapacityError("busy", status_code=429)
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(
            pool_size=8, min_dispatch_delay_ms=100, max_dispatch_delay_ms=100, throttle=throttle
        )
        await pool.run(rows(12), work)
        assert pool.stats()["pool_stats"]["peak_delay_ms"] == 100
        assert pool.stats()["pool_stats"]["total_throttle_time_ms"] >= 1000

    in_virtual_time(scenario)
    assert len(sent_s) == 16
    assert all(late - early >= 0.1 - 1e-9 for early, late in itertools.pairwise(sent_s))


def test_a_burst_of_rejections_backs_the_pace_off_once() -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        await asyncio.sleep(0.1)
        if asyncio.get_running_loop().time() < 0.15:
            raise CapacityError("busy", status_code=429)
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=10, throttle="aimd")
        entries = await pool.run(rows(10), work)

        assert len(entries) == 10
        stats = pool.stats()["pool_stats"]
        assert stats["capacity_retries"] == 10
        assert stats["peak_delay_ms"] == 50
        assert stats["successes"] == 10

    in_virtual_time(scenario)


def test_counters_are_those_of_one_batch() -> None:
    refuse = True

    async def work(row: int, state_id: str) -> RowResult[int]:
        nonlocal refuse
        if refuse:
            refuse = False
            raise CapacityError("busy", status_code=429)
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=3, throttle="aimd")
        await pool.run(rows(7), work)
        first = pool.stats()
        await pool.run(rows(2), work)
        second = pool.stats()

        assert first["pool_stats"]["capacity_retries"] == 1
        assert first["pool_stats"]["successes"] == 7
        assert first["pool_stats"]["peak_delay_ms"] == 50
        assert first["pool_config"] == {
            "pool_size": 3,
            "max_capacity_retry_seconds": 3600,
            "dispatch_delay_at_completion_ms": 0,
        }
        assert second["pool_stats"] == {
            "capacity_retries": 0,
            "successes": 2,
            "peak_delay_ms": 0,
            "current_delay_ms": 0,
            "total_throttle_time_ms": 0,
            "max_concurrent_reached": 2,
        }

    in_virtual_time(scenario)


def test_a_row_that_ended_in_its_own_error_is_an_answer_to_the_pool() -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        return Rejected("invalid_json")

    async def scenario() -> None:
        pool = VirtualPool()
        entries = await pool.run(rows(2), work)
        assert [entry.result for entry in entries] == [Rejected("invalid_json")] * 2
        assert pool.stats()["pool_stats"]["successes"] == 2

    in_virtual_time(scenario)


def test_an_empty_batch_is_an_empty_list() -> None:
    assert in_virtual_time(lambda: VirtualPool().run(rows(0), instant)) == []


class Listening:
    """A controller that allows everything and keeps what it was told."""

    slows_down = True
    delay_ms = 0.0

    def __init__(self) -> None:
        self.heard: list[tuple[str, Mapping[str, str]]] = []

    def next_send(self, now: float, in_flight: int) -> float | None:
        return 0.0

    def sent(self, now: float) -> None:
        """Not of interest here."""

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        self.heard.append(("succeeded", headers))

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        self.heard.append((f"rejected, again in {retry_after}", headers))

    def dropped(self, now: float, sent_at: float) -> None:
        self.heard.append(("dropped", {}))


def test_the_controller_hears_the_headers_of_answers_and_of_errors() -> None:
    controller = Listening()
    tries = itertools.count()

    async def work(row: int, state_id: str) -> RowResult[int]:
        if next(tries) == 0:
            raise CapacityError("busy", status_code=429, headers={"retry-after": "2"})
        report_headers({"x-ratelimit-limit-requests": "60"})
        return Succeeded(row)

    in_virtual_time(lambda: VirtualPool(controller=controller).run(rows(2), work))

    assert controller.heard == [
        ("rejected, again in 2.0", {"retry-after": "2"}),
        ("succeeded", {"x-ratelimit-limit-requests": "60"}),
        ("succeeded", {"x-ratelimit-limit-requests": "60"}),
    ]


def test_a_context_variable_set_by_one_row_is_not_seen_by_another() -> None:
    import contextvars  # noqa: PLC0415 - only here

    seen: list[int | None] = []
    variable: contextvars.ContextVar[int | None] = contextvars.ContextVar("variable", default=None)

    async def work(row: int, state_id: str) -> RowResult[int]:
        seen.append(variable.get())
        variable.set(row)
        return Succeeded(row)

    in_virtual_time(lambda: VirtualPool(pool_size=2).run(rows(6), work))

    assert seen == [None] * 6


class Broken(Listening):
    """A controller with a bug."""

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        raise ZeroDivisionError


class Refusing(Listening):
    """A controller that lets nothing through, ever."""

    def next_send(self, now: float, in_flight: int) -> float | None:
        return None


def test_a_broken_controller_is_an_error_and_never_a_hang() -> None:
    with pytest.raises(ZeroDivisionError):
        in_virtual_time(lambda: VirtualPool(controller=Broken()).run(rows(3), instant))
    with pytest.raises(RuntimeError, match="nothing in flight"):
        in_virtual_time(lambda: VirtualPool(controller=Refusing()).run(rows(3), instant))
