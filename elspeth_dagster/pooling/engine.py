"""An event loop on a thread of its own, and threads for plain functions. Started when needed, joined when stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

SLICE_S = 0.01
"""How long a caller's thread waits at a stretch. An exception that is raised in it from outside is seen after one
slice at most, on every platform and for every way of raising; a hundred looks a second cost next to nothing."""

ORPHAN_CHECK_S = 1.0
"""How often the loop looks whether the main thread is gone. A pool that nobody closed must not hold up the exit."""


class Engine:
    """Owns the loop and the threads of one pool."""

    def __init__(self, *, threads_max: int) -> None:
        self.loop = asyncio.new_event_loop()
        self._threads_max = threads_max
        self._threads: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None

    def start(self, *, is_idle: Callable[[], bool]) -> None:
        """Begin; ``is_idle`` is asked on the loop, once the main thread has ended: may the loop end, too?"""
        self._thread = threading.Thread(target=self._live, args=(is_idle,), name="elspeth-pool-loop")
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether the loop is gone; without ``stop``, that is when the main thread has ended."""
        return self.loop.is_closed()

    def threads(self) -> ThreadPoolExecutor:
        """The threads for plain functions; made at the first call, on the loop."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._threads_max, thread_name_prefix="elspeth-pool")
        return self._threads

    def run(self, function: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run a coroutine on the loop and wait for it; an exception in the waiting thread ends the wait."""
        future = asyncio.run_coroutine_threadsafe(function(), self.loop)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        try:
            wait_in_slices(done)
        except BaseException:
            future.cancel()
            raise
        return future.result()

    def stop(self, *, threads_are_idle: bool) -> None:
        """End the loop and wait for it; wait for the threads, too, if they are idle, else they end when they can."""
        self.let_go()
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(SLICE_S)
        if self._threads is not None:
            self._threads.shutdown(wait=threads_are_idle)

    def let_go(self) -> None:
        """Have everything end by itself, soon; waits for nothing."""
        with suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _live(self, is_idle: Callable[[], bool]) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_later(ORPHAN_CHECK_S, self._check_orphaned, is_idle)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._tidy_up())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _tidy_up(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ORPHAN_CHECK_S)
        await self.loop.shutdown_asyncgens()

    def _check_orphaned(self, is_idle: Callable[[], bool]) -> None:
        if not threading.main_thread().is_alive() and is_idle():
            self.loop.stop()
        else:
            self.loop.call_later(ORPHAN_CHECK_S, self._check_orphaned, is_idle)


def wait_in_slices(event: threading.Event) -> None:
    """Wait for ``event``, letting exceptions that are raised in this thread through within a slice."""
    while not event.wait(SLICE_S):
        pass
