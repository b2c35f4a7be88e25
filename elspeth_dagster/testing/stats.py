"""What the server saw: counts, times and which requests it has answered before. Memory is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

BODIES_MAX = 1_000_000
"""Requests told apart; each costs about 100 bytes. Later ones count as new each time."""


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot. Times are seconds since the server started, or was reset."""

    requests: int = 0
    """All requests, but for those to the server's own pages (/stats, /health, /reset, /change)."""
    accepted: int = 0
    """Those that got past the limits."""
    answered: int = 0
    """Those that got a right answer, written to the end."""
    rejected_429: int = 0
    abandoned: int = 0
    """Clients that closed the connection before they had their answer."""
    in_flight: int = 0
    peak_in_flight: int = 0
    connections: int = 0
    """Connections accepted."""
    bodies_answered: int = 0
    """Different bodies among the answered."""
    repeated: int = 0
    """Different bodies that were answered more than once."""
    by_status: Mapping[str, int] = field(default_factory=dict)
    by_fault: Mapping[str, int] = field(default_factory=dict)
    first_request_at: float | None = None
    last_response_at: float | None = None

    def as_json(self) -> dict[str, object]:
        """The snapshot as /stats shows it."""
        return asdict(self)


class Tally:
    """Counts as the server works. Owned by the server's loop: not for several threads."""

    def __init__(self, now_s: float) -> None:
        self.in_flight = 0
        self.reset(now_s)

    def reset(self, now_s: float) -> None:
        """Start again; requests in flight stay in flight."""
        self._started_s = now_s
        self._requests = self._accepted = self._answered = self._rejected_429 = 0
        self._abandoned = self._repeated = 0
        self._peak_in_flight = self.in_flight
        self.connections = 0
        self._by_status: Counter[int] = Counter()
        self._by_fault: Counter[str] = Counter()
        self._tries: dict[bytes, int] = {}
        self._answers: dict[bytes, int] = {}
        self._first_s: float | None = None
        self._last_s: float | None = None

    @property
    def requests(self) -> int:
        """Requests so far."""
        return self._requests

    def arrived(self, now_s: float) -> None:
        """A request is here."""
        self._requests += 1
        if self._first_s is None:
            self._first_s = now_s

    def admitted(self, body: bytes) -> int:
        """A request got past the limits. Returns how many times this body had before."""
        self._accepted += 1
        tries = self._tries.get(body, 0)
        if tries or len(self._tries) < BODIES_MAX:
            self._tries[body] = tries + 1
        return tries

    def faulted(self, fault: str) -> None:
        """A request meets a fault."""
        self._by_fault[fault] += 1

    def began(self) -> None:
        """A request is being worked on."""
        self.in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self.in_flight)

    def ended(self) -> None:
        """That work is over, whatever came of it."""
        self.in_flight -= 1

    def abandoned(self) -> None:
        """A client went away before its answer was written."""
        self._abandoned += 1

    def responded(self, status: int, now_s: float, *, answered: bytes | None) -> None:
        """A response was written; ``answered`` is the request's body key when the answer was right."""
        self._by_status[status] += 1
        self._last_s = now_s
        if status == 429:  # noqa: PLR2004 - named by HTTP
            self._rejected_429 += 1
        if answered is None:
            return
        self._answered += 1
        before = self._answers.get(answered, 0)
        self._repeated += before == 1
        if before or len(self._answers) < BODIES_MAX:
            self._answers[answered] = before + 1

    def snapshot(self) -> Stats:
        """The counts as they are now."""
        return Stats(
            requests=self._requests,
            accepted=self._accepted,
            answered=self._answered,
            rejected_429=self._rejected_429,
            abandoned=self._abandoned,
            in_flight=self.in_flight,
            peak_in_flight=self._peak_in_flight,
            connections=self.connections,
            bodies_answered=len(self._answers),
            repeated=self._repeated,
            by_status={str(status): count for status, count in sorted(self._by_status.items())},
            by_fault=dict(sorted(self._by_fault.items())),
            first_request_at=self._since(self._first_s),
            last_response_at=self._since(self._last_s),
        )

    def _since(self, moment_s: float | None) -> float | None:
        return None if moment_s is None else round(moment_s - self._started_s, 6)
