"""The fake model in a process of its own, so that it does not share a processor's time with what is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import selectors
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.presets import preset as preset_named
from elspeth_dagster.testing.settings import FakeModelSettings, overridden, settings_json
from elspeth_dagster.testing.stats import Stats

START_S_MAX = 30.0
"""It starts in a third of a second; a machine under full load needs longer."""

STOP_S_MAX = 5.0
"""How long the process may take to end when asked; then it is killed."""

REQUEST_S_MAX = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class FakeModelProcess:
    """A running server process."""

    root_url: str
    """An Azure endpoint."""
    base_url: str
    """An OpenAI ``base_url``."""
    port: int
    pid: int

    def stats(self) -> Stats:
        """What the server saw so far."""
        return Stats(**self._fetch("GET", "/stats"))  # type: ignore[arg-type]  # the server's own snapshot

    def reset(self) -> None:
        """As freshly started: counts, bucket, rules, and which requests were seen."""
        self._fetch("POST", "/reset")

    def change(self, **changes: object) -> None:
        """Change settings while it runs, named as in :class:`FakeModelSettings`; bucket and rules start afresh.

        Raises:
            LaunchError: a name or a value is wrong.
        """
        body = json.dumps(changes, default=dataclasses.asdict).encode()
        try:
            self._fetch("POST", "/change", body=body)
        except urllib.error.HTTPError as refused:
            with refused:
                said = json.load(refused)["error"]["message"]
            raise LaunchError(f"The fake model keeps its settings: {said}") from None

    def _fetch(self, method: str, path: str, *, body: bytes | None = None) -> dict[str, object]:
        request = urllib.request.Request(self.root_url + path, data=body, method=method)  # noqa: S310 - our own server, by http
        with urllib.request.urlopen(request, timeout=REQUEST_S_MAX) as answer:  # noqa: S310
            found: dict[str, object] = json.load(answer)
        return found


@contextlib.contextmanager
def fake_model_process(
    settings: FakeModelSettings | None = None, *, preset: str | None = None, port: int = 0, **changes: object
) -> Iterator[FakeModelProcess]:
    """Start the server as a process and stop it at the end.

    The weather is ``settings``, or the ``preset`` of that name, or the defaults; ``changes`` are fields of
    :class:`FakeModelSettings`. The process also ends when this one dies.

    Raises:
        LaunchError: a setting is wrong, or the server did not start; its own words are in the error.
    """
    base = settings or (preset_named(preset) if preset else FakeModelSettings())
    chosen = overridden(base, changes)
    command = [sys.executable, "-m", "elspeth_dagster.testing.fake_model", "--port", str(port)]
    command += ["--settings", "-", "--die-with-parent"]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words
        )
        try:
            yield _started(process, settings_json(chosen), words=words)
        finally:
            _stop(process)


def _started(process: subprocess.Popen[bytes], settings: str, *, words: IO[bytes]) -> FakeModelProcess:
    """Hand the process its settings and wait for the line that says where it listens."""
    assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(settings.encode())
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_S_MAX) else b""
    if not line:
        words.seek(0)
        said = words.read().decode(errors="replace").strip()
        raise LaunchError(
            "The fake model did not start.", where=said or None, hint="mend what it says, or the port"
        )
    place = json.loads(line)
    root_url = place["base_url"].removesuffix("/v1")
    return FakeModelProcess(root_url, place["base_url"], place["port"], process.pid)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End this process, and no other."""
    process.terminate()
    try:
        process.wait(timeout=STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
