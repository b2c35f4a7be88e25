"""Starts a client's process, from the side of the benchmark."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.clients.job import Job, Measured

ROOT = Path(__file__).resolve().parents[2]

END_S_MAX = 60.0
"""What a client gets for its last rows, and to end, beyond the time that its job is given."""


class ClientFailedError(Exception):
    """The client's process ended, or was ended, without a result."""


@dataclass(frozen=True, slots=True)
class ClientProcess:
    """A client that is ready to ask."""

    job: Job
    _process: subprocess.Popen[str]
    _orders: IO[str]

    def go(self) -> None:
        """Let it begin."""
        print("go", file=self._orders, flush=True)

    def result(self) -> Measured:
        """Wait until it is done.

        Raises:
            ClientFailedError: it is not, and will not be.
        """
        try:
            told, _ = self._process.communicate(timeout=(self.job.seconds or 0.0) + END_S_MAX)
        except subprocess.TimeoutExpired:
            raise ClientFailedError(f"{self.job.client} did not end in time") from None
        lines = told.splitlines()
        if not lines:
            raise ClientFailedError(f"{self.job.client} said nothing")
        return Measured(**json.loads(lines[-1]))


@contextlib.contextmanager
def client_process(job: Job, *, python: Path | None = None) -> Iterator[ClientProcess]:
    """Start the client of ``job`` with that interpreter (default: this one); inside it is ready.

    Raises:
        ClientFailedError: it could not get ready; its own words are on standard error.
    """
    process = subprocess.Popen(
        [str(python or sys.executable), "-m", "benchmarks.clients"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        print(job.as_json(), file=process.stdin, flush=True)
        if process.stdout.readline().strip() != "ready":
            raise ClientFailedError(f"{job.client} did not get ready")
        yield ClientProcess(job, process, process.stdin)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run_client(job: Job, *, python: Path | None = None) -> Measured:
    """Start the client, let it do its job, and return what it took."""
    with client_process(job, python=python) as client:
        client.go()
        return client.result()
