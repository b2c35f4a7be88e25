"""The server: a listening socket, its connections, and a thread to run them in for tests.

``serve_until`` is the server on the caller's own loop; :class:`FakeModelServer` runs it in a background thread. The
model and all connections live on that one loop; other threads reach them through it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.connection import Connection
from elspeth_dagster.testing.faults import Fault
from elspeth_dagster.testing.model import FakeModel
from elspeth_dagster.testing.settings import FakeModelSettings, overridden
from elspeth_dagster.testing.stats import Stats

CONNECTIONS_MAX = 10_000
"""More clients at once than any test has; beyond it new connections are broken."""

BACKLOG = 1024
"""Connections waiting to be accepted: a pool may open hundreds in the same moment."""

START_S_MAX = 10.0
"""A socket is bound in milliseconds; what takes longer has failed."""

T = TypeVar("T")


class Site:
    """The open connections of one server."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(self, host: str, port: int) -> int:
        """Listen. Returns the port.

        Raises:
            LaunchError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                lambda: Connection(self._model, host=self), host, port, backlog=BACKLOG
            )
        except (OSError, OverflowError) as problem:
            hint = "choose another port, or 0 for a free one"
            raise LaunchError(
                f"The fake model cannot listen on {host}:{port}: {problem}", hint=hint
            ) from problem
        self._listener = listener
        chosen: int = listener.sockets[0].getsockname()[1]
        return chosen

    async def close(self) -> None:
        """Stop listening and break all connections; returns when the last is closed."""
        self.leave()
        await self._empty.wait()
        if self._listener is not None:
            await self._listener.wait_closed()

    def opened(self, connection: Connection) -> bool:
        """Remember a connection; False: there are too many."""
        self._connections.add(connection)
        self._empty.clear()
        self._model.tally.connections += 1
        return len(self._connections) <= CONNECTIONS_MAX

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def leave(self) -> None:
        """Stop listening and break all connections."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.abort()


async def serve_until(
    stop: asyncio.Event, *, model: FakeModel, host: str, port: int, started: Callable[[int], None]
) -> None:
    """Serve ``model`` until ``stop`` is set; ``started`` gets the port.

    Raises:
        LaunchError: the address cannot be had.
    """
    site = Site(model)
    started(await site.open(host, port))
    try:
        await stop.wait()
    finally:
        await site.close()


class FakeModelServer:
    """A fake model in a background thread, for tests in the same process::

        with FakeModelServer(FakeModelSettings(latency_ms=5)) as server:
            client = OpenAI(base_url=server.base_url, api_key="any")

    Raises:
        LaunchError: on entering, when the address cannot be had.
    """

    def __init__(
        self, settings: FakeModelSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._model = FakeModel(settings or FakeModelSettings())
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        ready: Future[int] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake-model", daemon=True)
        self._thread.start()
        try:
            self._port = ready.result(timeout=START_S_MAX)
        except LaunchError:
            self._thread.join()
            self._loop = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    @property
    def port(self) -> int:
        """The port it listens on; known once entered."""
        if self._port is None:
            raise LaunchError("The fake model server is not running.", hint="use it in a 'with' statement")
        return self._port

    @property
    def root_url(self) -> str:
        """``http://host:port``: an Azure endpoint."""
        return f"http://{self._host}:{self.port}"

    @property
    def base_url(self) -> str:
        """``http://host:port/v1``: an OpenAI ``base_url``."""
        return f"{self.root_url}/v1"

    def stats(self) -> Stats:
        """What the server saw so far; the last word also after it has stopped."""
        return self._ask(self._model.tally.snapshot)

    def reset(self) -> None:
        """As freshly started: counts, bucket, script, rules, and which requests were seen."""
        self._ask(self._model.reset)

    def script(self, *fates: Fault | None) -> None:
        """What the next requests that get past the limits meet, in order of arrival; None is a clean answer."""
        self._ask(lambda: self._model.script(fates))

    def change(self, **changes: object) -> None:
        """Change settings while it runs, named as in :class:`FakeModelSettings`; bucket and rules start afresh.

        Raises:
            LaunchError: a name or a value is wrong.
        """
        settings = overridden(self._model.settings, changes)
        self._ask(lambda: self._model.apply(settings))

    def _ask(self, question: Callable[[], T]) -> T:
        """Run ``question`` on the loop that owns the model; here, when there is none."""
        loop = self._loop
        if loop is None:
            return question()
        answer: Future[T] = Future()
        loop.call_soon_threadsafe(_answer, question, answer)
        return answer.result(timeout=START_S_MAX)

    def _run(self, ready: Future[int]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except LaunchError as problem:
            ready.set_exception(problem)

    async def _serve(self, ready: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        await serve_until(
            self._stop, model=self._model, host=self._host, port=self._wanted_port, started=ready.set_result
        )


def _answer(question: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as problem:  # noqa: BLE001 - handed to the thread that asked
        answer.set_exception(problem)
