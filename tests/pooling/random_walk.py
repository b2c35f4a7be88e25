"""One random scene of several transforms and batches on a pool in virtual time, which watches its laws itself."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from elspeth_dagster.errors import CapacityError, NodeStoppedError, TransientError
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.pooling import Again, BufferEntry, PooledTransform, QueuePort, RowContext
from elspeth_dagster.pooling.line import Line
from tests.pooling.virtual_time import VirtualPool, after, in_virtual_time
from tests.pooling.virtual_transforms import KeepingPort, Rows, VirtualHost, named_calls

LATENCY_MAX_S = 4.0
STUBBORN_MAX_S = 20.0
PATIENCE_S = 100_000.0
"""Virtual seconds in which everything must have ended."""

HOW_CALLS_END = ("succeed", "reject", "capacity", "transient", "again")

Call = BufferEntry[RowResult[str]]


class UserBugError(Exception):
    """What nobody expected."""


@dataclass(slots=True)
class CallRecord:
    """What one call did, as its own function saw it."""

    first_s: float | None = None
    not_before_s: float = 0.0
    transient_failures: int = 0
    is_running: bool = False
    was_answered: bool = False
    final: RowResult[str] | None = None


@dataclass(slots=True)
class Scene:
    """The pool, and what its calls saw. Every law that can be broken while calls start is checked as they do."""

    rng: random.Random
    pool: VirtualPool
    bug_odds: float
    in_flight: int = 0
    calls: defaultdict[str, CallRecord] = field(default_factory=lambda: defaultdict(CallRecord))
    bugs: dict[str, UserBugError] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def odds(self, share: float) -> bool:
        return self.rng.random() < share

    async def pause(self, longest_s: float) -> None:
        await asyncio.sleep(self.rng.choice((0.0, self.rng.uniform(0, longest_s))))

    async def work(self, call: str, state_id: str) -> RowResult[str]:
        """One try of one call; its unit is the first part of its name."""
        unit, record = call.partition(":")[0], self.calls[call]
        self._begins(unit, record)
        try:
            await self._takes_time()
            return self._ends(call, unit, record)
        finally:
            record.is_running = False
            self.in_flight -= 1

    def _begins(self, unit: str, record: CallRecord) -> None:
        now_s, config = asyncio.get_running_loop().time(), self.pool.config
        assert unit not in self.stopped, "a call of a stopped unit started"
        assert record.final is None, "a call that had ended started again"
        assert not record.is_running, "a call runs twice at once"
        assert now_s >= record.not_before_s, "a wait that the server named was cut"
        assert record.transient_failures < config.transient_attempts, "too many tries"
        record.first_s = now_s if record.first_s is None else record.first_s
        retry_s = now_s - record.first_s
        assert record.was_answered or retry_s <= config.max_capacity_retry_seconds, "a try after the budget"
        record.is_running = True
        self.in_flight += 1
        assert self.in_flight <= config.pool_size, "more in flight than the pool is large"

    async def _takes_time(self) -> None:
        try:
            await self.pause(LATENCY_MAX_S)
        except asyncio.CancelledError:
            self.seen.add("cancelled")
            if self.odds(0.3):
                await asyncio.sleep(self.rng.uniform(0, STUBBORN_MAX_S))
                if self.odds(0.5):
                    raise Again from None
            raise

    def _ends(self, call: str, unit: str, record: CallRecord) -> RowResult[str]:
        if self.odds(self.bug_odds):
            self.stopped.add(unit)
            self.seen.add("bug")
            raise self.bugs.setdefault(unit, UserBugError(call))
        how = self.rng.choices(HOW_CALLS_END, (70, 8, 10, 8, 4))[0]
        self.seen.add(how)
        if how == "again":
            record.was_answered = (
                True  # the budget bounds tries that fail, and asking again takes its own time
            )
            raise Again
        if how == "capacity":
            wait_s = self.rng.choice((0.0, self.rng.uniform(0, 6)))
            record.not_before_s = asyncio.get_running_loop().time() + wait_s - 1e-6
            raise CapacityError("busy", status_code=429, headers=after(wait_s) if wait_s else {})
        if how == "transient":
            record.transient_failures += 1
            raise TransientError("reset")
        record.final = Succeeded(call) if how == "succeed" else Rejected(call)
        return record.final

    def check_error(self, unit: str, error: BaseException | None) -> None:
        """A unit ends with its own bug, or because the pool was stopped."""
        if not isinstance(error, NodeStoppedError | UserBugError | None):
            raise error  # a law that was found broken in the middle of a call
        self.seen.add(f"ended with {type(error).__name__}")
        if not isinstance(error, NodeStoppedError):
            assert error is self.bugs.get(unit)

    def check_result(self, name: str, entry: Call) -> None:
        """A result is the call's own, or says that its tries or its budget were spent."""
        record, config = self.calls[name], self.pool.config
        if record.final is not None:
            assert entry.result == record.final
        else:
            assert isinstance(entry.result, Rejected)
            facts = entry.result.facts
            self.seen.add(entry.result.reason)
            if entry.result.reason == "retry_timeout":
                elapsed_s = facts["elapsed_seconds"]
                assert isinstance(elapsed_s, float)
                assert record.was_answered or elapsed_s <= config.max_capacity_retry_seconds + LATENCY_MAX_S
            else:
                assert entry.result.reason == "transient_retries_exhausted"
        assert entry.dispatch_timestamp is not None
        assert entry.submit_timestamp <= entry.dispatch_timestamp <= entry.complete_timestamp
        assert entry.buffer_wait_ms >= 0


class TransformUnit:
    """A transform with its feeder, its consumer, and perhaps somebody who closes it early."""

    def __init__(self, scene: Scene, name: str) -> None:
        rng = scene.rng
        self.scene, self.name = scene, name
        self.rows = [(f"{name}:{n}", rng.choice((0, 1, 1, 2, 4))) for n in range(rng.randint(0, 12))]
        self.accepted: list[tuple[str, int]] = []
        self.out: list[Rows] = []
        self.transform: PooledTransform[str, int, str, str] = PooledTransform(
            VirtualHost(scene.pool), named_calls, scene.work
        )
        self.port: KeepingPort[Rows] | QueuePort[Rows] = rng.choice((KeepingPort, QueuePort))()
        self.max_pending = rng.randint(1, 8)
        self.transform.connect_output(self.port, self.max_pending)
        self.closes_after_s = rng.uniform(0, 8) if scene.odds(0.25) else None

    @property
    def line(self) -> Line:
        assert self.transform._line is not None
        return self.transform._line

    async def live(self) -> None:
        others = [asyncio.create_task(part) for part in self._others()]
        await self._feed()
        await until(lambda: self.line.has_ended or self.line.outlet.emitted == len(self.accepted))
        self._stop()
        await asyncio.gather(*others)
        await until(lambda: self.line.has_ended)

    def _others(self) -> list[Coroutine[object, object, None]]:
        others: list[Coroutine[object, object, None]] = []
        if isinstance(self.port, QueuePort):
            others.append(self._consume(self.port))
        if self.closes_after_s is not None:
            others.append(self._close_after(self.closes_after_s))
        return others

    async def _feed(self) -> None:
        for token, calls in self.rows:
            await until(lambda: self.line.is_over or self.transform.has_room)
            if self.line.is_over:
                return
            self.accepted.append((token, calls))
            self.transform.accept(token, calls)
            unreleased = len(self.accepted) - self._released()
            assert unreleased <= self.max_pending, "more rows unreleased than allowed"
            await self.scene.pause(0.5)

    def _released(self) -> int:
        return len(self.out) if isinstance(self.port, QueuePort) else len(self.port.rows)

    async def _consume(self, port: QueuePort[Rows]) -> None:
        while not (self.line.has_ended and not port._rows):
            entries = port.take()
            if entries is not None:
                self.out.append(entries)
            await asyncio.sleep(self.scene.rng.uniform(0.01, 2))

    async def _close_after(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self._stop()

    def _stop(self) -> None:
        self.scene.stopped.add(self.name)
        self.transform.stop()

    def check(self) -> None:
        if isinstance(self.port, KeepingPort):
            self.out = self.port.rows
        self._check_rows()
        self._check_calls()
        self.scene.seen.add("all rows" if len(self.out) == len(self.rows) else "some rows")
        numbers, batch = self.transform.get_batch_metrics(), self.line.batch
        assert numbers["rows_accepted"] == len(self.accepted)
        assert numbers["rows_emitted"] == len(self.out)
        assert numbers["rows_given_up"] == len(self.accepted) - len(self.out)
        assert (numbers["rows_pending"], numbers["calls_in_flight"]) == (0, 0)
        for kept in (batch._row_of, batch._rows, batch.waiting, batch.running, batch._fresh, batch._due):
            assert not kept
        assert self.line.outlet._unreleased == 0
        error = self.port.error if isinstance(self.port, KeepingPort) else self.port._error
        self.scene.check_error(self.name, error)

    def _check_rows(self) -> None:
        """In order, none twice; none is missing but those with a call that has no result."""
        places = {token: place for place, (token, _) in enumerate(self.accepted)}
        came = [places[entries.token] for entries in self.out]
        assert came == sorted(set(came))
        for place in set(places.values()) - set(came):
            token, calls = self.accepted[place]
            names = [call.row for call in named_calls(token, calls)]
            assert any(self.scene.calls[name].final is None for name in names), f"{token} was lost"
        called = [token for token, calls in self.accepted if calls]
        rows = [(entries.token, entries.row) for entries in self.out if entries.row is not None]
        assert [called.index(token) for token, _ in rows] == [row.submit_index for _, row in rows]
        by_completion = sorted((row for _, row in rows), key=lambda row: row.complete_index)
        assert [row.complete_index for row in by_completion] == list(range(len(rows)))
        assert all(row.buffer_wait_ms >= 0 for row in by_completion)

    def _check_calls(self) -> None:
        """Each row has all of its calls; indices are those of submission, and no completion counts twice."""
        names = [call.row for token, calls in self.accepted for call in named_calls(token, calls)]
        completions: list[int] = []
        for entries in self.out:
            assert len(entries.calls) == entries.ctx
            assert (entries.row is None) == (entries.ctx == 0)
            for context, entry in zip(named_calls(entries.token, entries.ctx), entries.calls, strict=True):
                assert names[entry.submit_index] == context.row
                self.scene.check_result(context.row, entry)
                completions.append(entry.complete_index)
        assert len(set(completions)) == len(completions)
        if len(self.out) == len(self.accepted):
            assert sorted(completions) == list(range(len(names)))


class BatchUnit:
    """A plain batch beside the transforms."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.name = scene, name
        self.contexts = [RowContext(f"{name}:{n}", name, n) for n in range(scene.rng.randint(0, 15))]
        self.entries: list[Call] | None = None
        self.error: BaseException | None = None

    async def live(self) -> None:
        await self.scene.pause(3)
        try:
            self.entries = await self.scene.pool.run(self.contexts, self.scene.work)
        except Exception as error:  # noqa: BLE001 - looked at in check
            self.error = error

    def check(self) -> None:
        if self.entries is None:
            assert self.error is not None
            self.scene.check_error(self.name, self.error)
            return
        assert [entry.submit_index for entry in self.entries] == list(range(len(self.contexts)))
        assert sorted(entry.complete_index for entry in self.entries) == list(range(len(self.contexts)))
        for context, entry in zip(self.contexts, self.entries, strict=True):
            self.scene.check_result(context.row, entry)


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again: time costs nothing here."""
    while not condition():  # noqa: ASYNC110 - nothing tells of all that a condition may ask for
        await asyncio.sleep(0.25)


def walk(seed: int) -> set[str]:
    """Play the scene of ``seed`` and check every law of it; what came to pass in it."""
    rng = random.Random(seed)  # noqa: S311 - chooses scenes, guards nothing
    return in_virtual_time(lambda: _play(rng))


async def _play(rng: random.Random) -> set[str]:
    pool = VirtualPool(
        drain_s=rng.choice((0.0, 1.0, 10.0)),
        pool_size=rng.randint(1, 8),
        throttle=rng.choice(("fixed", "aimd", "adaptive")),
        min_dispatch_delay_ms=rng.choice((0, 20)),
        max_dispatch_delay_ms=500,
        max_capacity_retry_seconds=rng.uniform(2, 30),
        transient_attempts=rng.randint(1, 5),
    )
    scene = Scene(rng, pool, bug_odds=rng.choice((0.0, 0.0, 0.02)))
    units: list[TransformUnit | BatchUnit] = [TransformUnit(scene, f"t{n}") for n in range(rng.randint(1, 3))]
    units += [BatchUnit(scene, f"b{n}") for n in range(rng.randint(0, 2))]
    if scene.odds(0.1):
        asyncio.get_running_loop().call_later(
            rng.uniform(0, 10), pool.dispatcher.stop, NodeStoppedError("enough", code="pool_stopped")
        )
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(unit.live() for unit in units))
        assert await pool.dispatcher.wait_until_quiet(timeout_s=STUBBORN_MAX_S + 1)
    for unit in units:
        unit.check()
    assert pool.dispatcher.is_idle
    assert scene.in_flight == 0
    return scene.seen
