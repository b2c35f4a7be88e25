"""What a client is told, and what it tells; both cross to its process and back as JSON. Standard library only."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

MODEL = "fake-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``client`` asks ``requests`` prompts, or for ``seconds``, whatever comes first; at least one is given.

    ``warm_up`` prompts are asked before anything is measured. The limits are for the client that knows them:
    tokens a second from the start and after so many seconds, the bucket's size, places for requests at once.
    """

    client: str
    base_url: str
    pool_size: int
    requests: int | None = None
    seconds: float | None = None
    warm_up: int = 0
    rates: tuple[tuple[float, float], ...] = ()
    burst: float = 1.0
    places: int | None = None

    def as_json(self) -> str:
        """One line that ``read`` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def read(cls, line: str) -> Self:
        """The job that ``as_json`` wrote."""
        told = json.loads(line)
        rates = tuple((float(after_s), float(rate)) for after_s, rate in told.pop("rates"))
        return cls(**told, rates=rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What asking took: processor time is the whole process's, all threads; ``lost`` prompts got no answer."""

    answered: int
    lost: int
    wall_s: float
    cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Answers a second."""
        return self.answered / self.wall_s

    @property
    def cpu_ms_per_call(self) -> float:
        """Processor time for one answer."""
        return self.cpu_s / max(1, self.answered) * 1000


class Client(Protocol):
    """One way to ask many prompts."""

    def ask_all(self, prompts: Iterable[str]) -> int:
        """Ask every prompt, in any order; how many were answered. Prompts may be pulled from any thread."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Prompts:
    """Prompts for a job, each different; safe to pull from several threads. Says how many were pulled."""

    def __init__(self, *, name: str, requests: int | None, seconds: float | None) -> None:
        self._name = name
        self._requests = requests
        self._until_s = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self.pulled = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        with self._lock:
            is_enough = self._requests is not None and self.pulled >= self._requests
            if is_enough or (self._until_s is not None and time.monotonic() >= self._until_s):
                raise StopIteration
            self.pulled += 1
            return f"How urgent is message {self._name}-{self.pulled}? My card has not arrived, what now?"
