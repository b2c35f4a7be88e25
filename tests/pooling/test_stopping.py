"""What stops a batch, and what is left of the pool after it; in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from elspeth_dagster.errors import CapacityError, ModelUnusableError, NodeStoppedError, TransientError
from elspeth_dagster.model.result import RowResult, Succeeded
from tests.pooling.virtual_time import VirtualPool, in_virtual_time, rows


class UserBugError(Exception):
    """What nobody expected."""


async def fine(row: int, state_id: str) -> RowResult[int]:
    await asyncio.sleep(0.1)
    return Succeeded(row)


@pytest.mark.parametrize("pool_size", [1, 4, 20])
@pytest.mark.parametrize("error", [UserBugError("boo"), ModelUnusableError("401", status_code=401)])
def test_any_other_exception_stops_the_batch_and_surfaces_as_itself(pool_size: int, error: Exception) -> None:
    started: list[int] = []

    async def work(row: int, state_id: str) -> RowResult[int]:
        started.append(row)
        if row == 2:
            raise error
        await asyncio.sleep(1)
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=pool_size)
        with pytest.raises(type(error)) as caught:
            await pool.run(rows(50), work)
        assert caught.value is error
        assert any(frame.name == "work" for frame in caught.traceback)
        entries = await pool.run(rows(5), fine)
        assert [entry.result for entry in entries] == [Succeeded(n) for n in range(5)]

    in_virtual_time(scenario)
    assert started == [0, 1, 2]  # row 2 raised at once: nothing was sent after it


def test_one_batchs_bug_leaves_the_others_alone() -> None:
    async def bad(row: int, state_id: str) -> RowResult[int]:
        await asyncio.sleep(0.25)
        raise UserBugError

    async def scenario() -> None:
        pool = VirtualPool(pool_size=2)
        failing, working = await asyncio.gather(
            pool.run(rows(9), bad), pool.run(rows(9), fine), return_exceptions=True
        )
        assert isinstance(failing, UserBugError)
        assert isinstance(working, list)
        assert [entry.submit_index for entry in working] == list(range(9))

    in_virtual_time(scenario)


def test_calls_in_flight_end_before_the_bug_surfaces_and_rows_that_waited_are_not_tried_again() -> None:
    ended: list[int] = []

    async def work(row: int, state_id: str) -> RowResult[int]:
        if row == 0:
            raise CapacityError("busy", status_code=429, headers={"retry-after": "1"})
        if row == 1:
            await asyncio.sleep(0.5)
            raise UserBugError
        await asyncio.sleep(2)
        ended.append(row)
        if row == 3:
            raise TransientError("reset")
        return Succeeded(row)

    async def scenario() -> float:
        pool = VirtualPool(pool_size=4, throttle="fixed")
        with pytest.raises(UserBugError):
            await pool.run(rows(4), work)
        assert pool.latest is not None
        assert [entry.submit_index for entry in pool.latest.outbox] == [2]  # what ended is not lost
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario) == pytest.approx(2)
    assert sorted(ended) == [2, 3]


def test_calls_that_outlast_the_grace_period_are_cancelled() -> None:
    cancelled: list[int] = []

    async def work(row: int, state_id: str) -> RowResult[int]:
        if row == 0:
            raise UserBugError
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(row)
            raise
        return Succeeded(row)

    async def late_bug(row: int, state_id: str) -> RowResult[int]:
        return await work(2 - row, state_id)

    async def scenario() -> float:
        pool = VirtualPool(pool_size=3, drain_s=5)
        with pytest.raises(UserBugError):
            await pool.run(rows(3), late_bug)
        at_s = asyncio.get_running_loop().time()
        entries = await pool.run(rows(6), fine)
        assert len(entries) == 6
        return at_s

    assert in_virtual_time(scenario) == pytest.approx(5)
    assert sorted(cancelled) == [1, 2]


def test_a_call_that_ignores_its_cancellation_keeps_its_slot_but_holds_nobody_up() -> None:
    async def stubborn(row: int, state_id: str) -> RowResult[int]:
        if row == 1:
            raise UserBugError
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(50)
        return Succeeded(row)

    async def scenario() -> float:
        pool = VirtualPool(pool_size=2, drain_s=5)
        with pytest.raises(UserBugError):
            await pool.run(rows(2), stubborn)
        began_s = asyncio.get_running_loop().time()
        await pool.run(rows(4), fine)
        assert pool.stats()["pool_stats"]["max_concurrent_reached"] == 1
        assert await pool.dispatcher.wait_until_quiet(timeout_s=100)
        return began_s

    assert in_virtual_time(scenario) == pytest.approx(5)


@pytest.mark.parametrize("result", [None, {"a": 1}, 7, "text", (1, 2)])
def test_a_wrong_type_of_result_stops_the_batch_and_is_named(result: object) -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        return result  # type: ignore[return-value]

    with pytest.raises(TypeError, match=f"not {type(result).__name__}"):
        in_virtual_time(lambda: VirtualPool().run(rows(3), work))


def test_a_stopped_pool_gives_out_what_ends_and_then_says_so() -> None:
    started: list[int] = []

    async def work(row: int, state_id: str) -> RowResult[int]:
        started.append(row)
        await asyncio.sleep(1)
        return Succeeded(row)

    async def scenario() -> None:
        pool = VirtualPool(pool_size=4)
        running = asyncio.create_task(pool.run(rows(20), work))
        await asyncio.sleep(1.5)
        pool.dispatcher.stop(NodeStoppedError("enough", code="pool_stopped"))
        with pytest.raises(NodeStoppedError, match="enough"):
            await running
        assert asyncio.get_running_loop().time() == pytest.approx(2)
        assert pool.latest is not None
        assert [entry.submit_index for entry in pool.latest.outbox] == list(range(8))
        with pytest.raises(NodeStoppedError, match="enough"):
            await pool.run(rows(3), work)

    in_virtual_time(scenario)
    assert started == list(range(8))


def test_a_process_function_that_raises_cancellation_is_a_bug_like_any_other() -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        raise asyncio.CancelledError

    async def scenario() -> None:
        pool = VirtualPool(pool_size=2)
        with pytest.raises(asyncio.CancelledError):
            await pool.run(rows(3), work)
        assert len(await pool.run(rows(3), fine)) == 3

    in_virtual_time(scenario)
