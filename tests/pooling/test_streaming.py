"""Rows with any number of calls through one pool: overlap, order, numbers, the end. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import CapacityError, ModelUnusableError, NodeStoppedError, TransientError
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.pooling import Again, PooledTransform, QueuePort, StreamingTransform
from tests.pooling.virtual_time import VirtualPool, after, in_virtual_time
from tests.pooling.virtual_transforms import KeepingPort, Rows, VirtualHost, named_calls

Work = Callable[[str, str], Awaitable[RowResult[str]]]
Transform = PooledTransform[str, int, str, str]


class UserBugError(Exception):
    """What nobody expected."""


class Scene:
    """A transform on a pool of its own, connected to a port that keeps everything."""

    def __init__(
        self,
        work: Work,
        *,
        max_pending: int = 1000,
        drain_s: float = 10.0,
        throttle: str = "fixed",
        **config: float,
    ) -> None:
        self.pool = VirtualPool(controller=None, drain_s=drain_s, throttle=throttle, **config)
        self.transform: Transform = PooledTransform(VirtualHost(self.pool), named_calls, work)
        self.port: KeepingPort[Rows] = KeepingPort()
        self.transform.connect_output(self.port, max_pending)

    def accept(self, *calls: int) -> None:
        """Accept one row for each number of calls, named by its place."""
        for place, count in enumerate(calls):
            self.transform.accept(str(place), count)

    @property
    def emitted(self) -> list[str]:
        return [entries.token for entries in self.port.rows]


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def one_second(call: str, state_id: str) -> RowResult[str]:
    await asyncio.sleep(1)
    return Succeeded(call)


async def later_ones_sooner(call: str, state_id: str) -> RowResult[str]:
    row, _, number = call.partition("/")
    await asyncio.sleep(100 - int(row) - int(number) / 10)
    return Succeeded(call)


def test_a_pooled_transform_is_a_streaming_transform() -> None:
    async def scenario() -> None:
        transform: StreamingTransform[str, int, str] = Scene(one_second).transform
        with pytest.raises(NotImplementedError, match="one way"):
            transform.process({}, None)

    in_virtual_time(scenario)


@pytest.mark.parametrize(
    ("pool_size", "rows", "calls", "in_flight"), [(20, 100, 1, 20), (20, 100, 5, 20), (120, 30, 4, 120)]
)
@pytest.mark.parametrize("throttle", ["fixed", "aimd", "adaptive"])
def test_rows_overlap_whether_a_row_makes_one_call_or_many(
    pool_size: int, rows: int, calls: int, in_flight: int, throttle: str
) -> None:
    async def ten_seconds(call: str, state_id: str) -> RowResult[str]:
        await asyncio.sleep(10)
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(ten_seconds, pool_size=pool_size, throttle=throttle)
        scene.accept(*[calls] * rows)
        await asyncio.sleep(5)
        assert scene.transform.get_batch_metrics()["calls_in_flight"] == in_flight
        await asyncio.sleep(10 * rows * calls / pool_size + 10)
        assert scene.emitted == [str(row) for row in range(rows)]
        assert scene.transform.get_batch_metrics()["pool_stats"]["max_concurrent_reached"] == in_flight

    in_virtual_time(scenario)


def test_a_row_is_emitted_whole_with_its_calls_in_their_order() -> None:
    async def scenario() -> None:
        scene = Scene(later_ones_sooner, pool_size=100)
        scene.accept(1, 3, 2)
        await asyncio.sleep(200)
        assert [entries.token for entries in scene.port.rows] == ["0", "1", "2"]
        assert [entries.ctx for entries in scene.port.rows] == [1, 3, 2]
        assert [entries.results for entries in scene.port.rows] == [
            (Succeeded("0/0"),),
            (Succeeded("1/0"), Succeeded("1/1"), Succeeded("1/2")),
            (Succeeded("2/0"), Succeeded("2/1")),
        ]

    in_virtual_time(scenario)


def test_indices_count_rows_for_rows_and_calls_for_calls_and_times_span_the_row() -> None:
    async def scenario() -> None:
        scene = Scene(later_ones_sooner, pool_size=100)
        scene.accept(1, 0, 2)
        await asyncio.sleep(200)
        first, none, last = scene.port.rows
        assert none.row is None
        assert none.calls == ()
        assert first.row is not None
        assert last.row is not None
        assert (first.row.submit_index, first.row.complete_index) == (0, 1)
        assert (last.row.submit_index, last.row.complete_index) == (1, 0)
        assert [(call.submit_index, call.complete_index) for call in (*first.calls, *last.calls)] == [
            (0, 2),
            (1, 1),
            (2, 0),
        ]
        assert last.row.result == last.results
        assert (last.row.submit_timestamp, last.row.dispatch_timestamp) == (0, 0)
        assert last.row.complete_timestamp == pytest.approx(98)
        assert last.row.buffer_wait_ms == pytest.approx(2000)
        assert first.row.buffer_wait_ms == 0

    in_virtual_time(scenario)


def test_rows_without_calls_keep_their_place_and_pass_no_gate() -> None:
    async def scenario() -> None:
        scene = Scene(one_second, pool_size=1)
        scene.accept(0, 0, 1, 0, 1, 0)
        await asyncio.sleep(0.5)
        assert scene.emitted == ["0", "1"]
        await asyncio.sleep(1)
        assert scene.emitted == ["0", "1", "2", "3"]
        await asyncio.sleep(1)
        assert scene.emitted == ["0", "1", "2", "3", "4", "5"]
        indices = [entries.row.submit_index for entries in scene.port.rows if entries.row is not None]
        assert indices == [0, 1]
        assert scene.transform.get_batch_metrics()["pool_stats"]["successes"] == 2

    in_virtual_time(scenario)


def test_calls_are_retried_as_everywhere_and_a_rejected_one_is_a_result() -> None:
    tries: dict[str, int] = {}

    async def work(call: str, state_id: str) -> RowResult[str]:
        tries[call] = tries.get(call, 0) + 1
        if call == "0/0" and tries[call] == 1:
            raise CapacityError("busy", status_code=429, headers=after(3))
        if call == "0/1" and tries[call] < 3:
            raise TransientError("reset")
        if call == "1/0" and tries[call] == 1:
            raise Again
        if call == "1/1":
            return Rejected("no_answer")
        if call == "2/0":
            raise CapacityError("never", status_code=529, headers=after(1000))
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(work, pool_size=2, max_capacity_retry_seconds=60)
        scene.accept(2, 2, 1)
        await asyncio.sleep(100)
        first, second, third = (entries.results for entries in scene.port.rows)
        assert first == (Succeeded("0/0"), Succeeded("0/1"))
        assert second == (Succeeded("1/0"), Rejected("no_answer"))
        assert isinstance(third[0], Rejected)
        assert third[0].reason == "retry_timeout"

    in_virtual_time(scenario)
    assert tries == {"0/0": 2, "0/1": 3, "1/0": 2, "1/1": 1, "2/0": 1}


@pytest.mark.parametrize("error", [UserBugError("boo"), ModelUnusableError("401", status_code=401)])
def test_an_error_stops_everything_after_what_is_whole(error: Exception) -> None:
    started: list[str] = []

    async def work(call: str, state_id: str) -> RowResult[str]:
        started.append(call)
        await asyncio.sleep({"1/1": 5, "2/0": 1.9}.get(call, 1))
        if call == "2/0":
            raise error
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(work, pool_size=6)
        scene.accept(1, 2, 2, 0, 1, 5, 0)
        await asyncio.sleep(1.5)
        assert scene.emitted == ["0"]
        await asyncio.sleep(1)
        assert scene.port.error is None  # 1/1 is still in flight, and its answer is paid for
        await asyncio.sleep(3)
        assert scene.emitted == ["0", "1", "3", "4", "6"]
        assert scene.port.error is error
        numbers = scene.transform.get_batch_metrics()
        assert (numbers["rows_given_up"], numbers["rows_pending"], numbers["calls_in_flight"]) == (2, 0, 0)
        with pytest.raises(type(error)):
            scene.transform.accept("late", 1)
        with pytest.raises(type(error)):
            scene.transform.flush(timeout=0)

    in_virtual_time(scenario)
    assert started == ["0/0", "1/0", "1/1", "2/0", "2/1", "4/0", "5/0", "5/1", "5/2", "5/3"]


def test_calls_that_outlast_the_drain_are_cancelled_and_their_rows_are_given_up() -> None:
    async def work(call: str, state_id: str) -> RowResult[str]:
        if call == "4/0":
            raise UserBugError
        await asyncio.sleep(1000 if call in {"0/0", "2/1"} else 1)
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(work, pool_size=7, drain_s=5)
        scene.accept(1, 1, 2, 1, 1)
        await asyncio.sleep(4.9)
        assert scene.port.error is None
        await asyncio.sleep(0.2)
        assert scene.emitted == ["1", "3"]
        assert isinstance(scene.port.error, UserBugError)
        complete = [entries.row.complete_index for entries in scene.port.rows if entries.row is not None]
        assert sorted(complete) == [0, 1]

    in_virtual_time(scenario)


@given(stuck=st.sets(st.integers(0, 9)), calls=st.lists(st.integers(0, 3), min_size=10, max_size=10))
def test_rows_given_up_anywhere_hold_nothing_up(stuck: set[int], calls: list[int]) -> None:
    async def work(call: str, state_id: str) -> RowResult[str]:
        await asyncio.sleep(1000 if int(call.partition("/")[0]) in stuck else 1)
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(work, pool_size=30, drain_s=5)
        scene.accept(*calls)
        await asyncio.sleep(2)
        scene.transform.stop()
        await asyncio.sleep(6)
        whole = [str(row) for row in range(10) if row not in stuck or calls[row] == 0]
        assert scene.emitted == whole
        numbers = scene.transform.get_batch_metrics()
        assert (numbers["rows_emitted"], numbers["rows_given_up"]) == (len(whole), 10 - len(whole))
        complete = [entries.row.complete_index for entries in scene.port.rows if entries.row is not None]
        assert sorted(complete) == list(range(len(complete)))

    in_virtual_time(scenario)


def test_one_transforms_error_leaves_the_others_on_the_same_pool_alone() -> None:
    async def bad(call: str, state_id: str) -> RowResult[str]:
        await asyncio.sleep(0.5)
        raise UserBugError

    async def scenario() -> None:
        failing = Scene(bad, pool_size=3)
        working: Transform = PooledTransform(VirtualHost(failing.pool), named_calls, one_second)
        port: KeepingPort[Rows] = KeepingPort()
        working.connect_output(port, 100)
        failing.accept(2, 2, 2)
        for row in range(5):
            working.accept(str(row), 2)
        await asyncio.sleep(20)
        assert isinstance(failing.port.error, UserBugError)
        assert [entries.token for entries in port.rows] == ["0", "1", "2", "3", "4"]
        assert [entries.row.submit_index for entries in port.rows if entries.row] == [0, 1, 2, 3, 4]

    in_virtual_time(scenario)


@pytest.mark.parametrize("at_row", [0, 1, 3])
def test_a_port_that_breaks_stops_its_transform_only(at_row: int) -> None:
    class BrokenPort(KeepingPort[Rows]):
        broke = False

        def emit(self, entries: Rows) -> None:
            if len(self.rows) == at_row and not self.broke:
                self.broke = True
                raise UserBugError
            super().emit(entries)

    async def scenario() -> None:
        scene = Scene(one_second, pool_size=2)
        transform: Transform = PooledTransform(VirtualHost(scene.pool), named_calls, one_second)
        port = BrokenPort()
        transform.connect_output(port, 100)
        for row in range(6):
            transform.accept(str(row), row % 2)
        scene.accept(1, 1, 1)
        await asyncio.sleep(20)
        assert len(port.rows) == at_row
        assert isinstance(port.error, UserBugError)
        assert transform.get_batch_metrics()["rows_given_up"] == 6 - at_row
        assert scene.emitted == ["0", "1", "2"]

    in_virtual_time(scenario)


def test_a_row_stays_unreleased_until_the_port_has_it_or_if_the_port_keeps_it_until_it_is_taken() -> None:
    async def scenario() -> None:
        scene = Scene(one_second, max_pending=2, pool_size=2)
        scene.accept(1, 1)
        assert not scene.transform.has_room
        await asyncio.sleep(1.5)
        assert scene.transform.has_room

        keeping: Transform = PooledTransform(VirtualHost(scene.pool), named_calls, one_second)
        queue: QueuePort[Rows] = QueuePort()
        keeping.connect_output(queue, 2)
        keeping.accept("a", 1)
        keeping.accept("b", 1)
        await asyncio.sleep(1.5)
        keeping.flush(timeout=0)  # emitted, though nobody took them
        assert not keeping.has_room
        assert queue.take() is not None
        assert keeping.has_room
        assert [entries.token for entries in queue.ready()] == ["b"]

    in_virtual_time(scenario)


def test_a_flush_that_takes_too_long_says_so_and_loses_nothing() -> None:
    async def scenario() -> None:
        scene = Scene(one_second, pool_size=2)
        scene.accept(1, 1, 1)
        with pytest.raises(TimeoutError, match="3 of 3 rows"):
            scene.transform.flush(timeout=0)
        await asyncio.sleep(3)
        scene.transform.flush(timeout=0)
        assert scene.emitted == ["0", "1", "2"]

    in_virtual_time(scenario)


def test_metrics_are_the_rows_and_the_pools() -> None:
    async def scenario() -> None:
        scene = Scene(one_second, pool_size=2)
        scene.accept(1, 2, 0)
        await asyncio.sleep(1.5)
        numbers = scene.transform.get_batch_metrics()
        assert numbers["rows_accepted"] == 3
        assert numbers["rows_emitted"] == 1
        assert numbers["rows_pending"] == 2
        assert numbers["calls_in_flight"] == 1
        assert numbers["pool_config"]["pool_size"] == 2
        assert numbers["pool_stats"]["successes"] == 2

    in_virtual_time(scenario)


def test_a_split_that_raises_takes_no_room_and_the_transform_goes_on() -> None:
    def split(token: str, calls: int) -> list[object]:
        raise UserBugError

    async def scenario() -> None:
        pool = VirtualPool(pool_size=2)
        transform = PooledTransform(VirtualHost(pool), split, one_second)  # type: ignore[arg-type]
        transform.connect_output(KeepingPort(), 1)
        for _ in range(3):
            with pytest.raises(UserBugError):
                transform.accept("a", 1)
        assert transform.has_room
        assert transform.get_batch_metrics()["rows_accepted"] == 0

    in_virtual_time(scenario)


def test_misuse_is_named() -> None:
    async def scenario() -> None:
        host = VirtualHost(VirtualPool())
        transform: Transform = PooledTransform(host, named_calls, one_second)
        with pytest.raises(RuntimeError, match="connect_output"):
            transform.accept("a", 1)
        with pytest.raises(ValueError, match="at least 1"):
            transform.connect_output(KeepingPort(), 0)
        transform.connect_output(KeepingPort(), 1)
        with pytest.raises(RuntimeError, match="output already"):
            transform.connect_output(KeepingPort(), 1)
        transform.stop()
        with pytest.raises(NodeStoppedError, match="was closed"):
            transform.accept("a", 1)

        never: Transform = PooledTransform(host, named_calls, one_second)
        never.close()
        with pytest.raises(NodeStoppedError, match="was closed"):
            never.connect_output(KeepingPort(), 1)

    in_virtual_time(scenario)


def test_a_call_that_ignores_its_end_and_wants_another_try_disturbs_nobody() -> None:
    async def stubborn(call: str, state_id: str) -> RowResult[str]:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            raise Again from None
        return Succeeded(call)

    async def scenario() -> None:
        scene = Scene(stubborn, pool_size=2, drain_s=1)
        scene.accept(1, 1)
        await asyncio.sleep(1)
        scene.transform.stop()
        await asyncio.sleep(20)
        assert scene.transform.get_batch_metrics()["rows_given_up"] == 2
        with pytest.raises(NodeStoppedError, match="was closed"):
            scene.transform.flush(timeout=0)

    in_virtual_time(scenario)


@pytest.mark.parametrize(
    ("lost", "rows_lost"), [({0}, {"0"}), ({2}, {"1"}), ({0, 3}, {"0", "2"}), ({0, 1, 2, 3}, {"0", "1", "2"})]
)
def test_a_call_that_somebody_else_cancelled_takes_only_its_own_row_along(
    lost: set[int], rows_lost: set[str]
) -> None:
    async def scenario() -> None:
        scene = Scene(one_second, pool_size=4)
        scene.accept(1, 2, 1)
        batch = scene.transform._connected().batch
        await asyncio.sleep(0)  # sent, and not begun
        for job in tuple(batch.running):
            if job.index in lost and job.cancel is not None:
                job.cancel()
        await asyncio.sleep(5)
        assert scene.emitted == [row for row in ("0", "1", "2") if row not in rows_lost]
        numbers = scene.transform.get_batch_metrics()
        assert (numbers["rows_given_up"], numbers["rows_pending"]) == (len(rows_lost), 0)

    in_virtual_time(scenario)


def test_a_row_that_comes_in_just_as_everything_ends_is_given_up_after_the_end() -> None:
    async def scenario() -> None:
        scene = Scene(one_second, pool_size=3)
        scene.accept(1)
        await asyncio.sleep(0.5)
        scene.transform.stop()
        await asyncio.sleep(5)
        for calls in (0, 1):  # past the check in accept, as from a thread that was interrupted there
            scene.transform._connected().outlet.reserve(lambda: False)
            scene.transform._take_in(scene.transform._connected(), "late", calls)
        await asyncio.sleep(5)
        assert scene.emitted == ["0"]
        numbers = scene.transform.get_batch_metrics()
        assert (numbers["rows_given_up"], numbers["rows_pending"]) == (2, 0)

    in_virtual_time(scenario)


def test_a_row_without_calls_is_waited_for_like_any_other() -> None:
    async def scenario() -> None:
        scene = Scene(one_second)
        batch = scene.transform._connected().batch
        batch.accept("a", 0, [])
        assert batch.pending == 1
        batch.release()
        assert batch.pending == 0
        assert scene.emitted == ["a"]

    in_virtual_time(scenario)
