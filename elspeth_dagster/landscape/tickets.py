"""What a caller holds until its unit is durable: one kind of ticket for threads, one for event loops.

A loop is woken once for a whole group of commits, not once for each waiter: waking costs a system call and a turn of
the loop, which at a thousand calls a second is a tenth of the loop's time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from concurrent.futures import Future

Ticket = Future[None]
LoopTicket = asyncio.Future[None]


def thread_ticket() -> Ticket:
    """A ticket to wait for in any thread; it cannot be cancelled, since a record is not taken back."""
    ticket: Ticket = Future()
    ticket.set_running_or_notify_cancel()
    return ticket


def loop_ticket() -> LoopTicket:
    """A ticket to await in the running loop. Who awaits it may go: the unit is stored all the same."""
    return asyncio.get_running_loop().create_future()


def settle(tickets: Iterable[Ticket | LoopTicket], failure: BaseException | None) -> None:
    """Tell whoever waits that the group is durable, or why it is not. Called in the writer's thread."""
    by_loop: dict[asyncio.AbstractEventLoop, list[LoopTicket]] = {}
    for ticket in tickets:
        if isinstance(ticket, Future):
            _resolve(ticket, failure)
        else:
            by_loop.setdefault(ticket.get_loop(), []).append(ticket)
    for loop, waiting in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(_wake, waiting, failure)


def _wake(waiting: list[LoopTicket], failure: BaseException | None) -> None:
    for ticket in waiting:
        if not ticket.done():
            _resolve(ticket, failure)


def _resolve(ticket: Ticket | LoopTicket, failure: BaseException | None) -> None:
    if failure is None:
        ticket.set_result(None)
    else:
        ticket.set_exception(failure)
