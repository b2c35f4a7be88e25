"""What the server does about one request: the bytes, when, and in which manner. A value; ``connection`` acts on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Manner(Enum):
    """How the bytes leave."""

    WHOLE = "at once"
    SLOW = "in small pieces"
    HANG = "not at all: the connection stays open"
    RESET = "not at all: the connection breaks"
    LEAVE = "not at all: the server goes away"


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's fate."""

    status: int
    payload: bytes
    manner: Manner = Manner.WHOLE
    delay_s: float = 0.0
    counted: bool = True
    """Whether ``/stats`` counts it."""
    admitted: bool = False
    """Whether it got past the limits and is in flight until it is settled."""
    answered: bytes | None = None
    """The key of the request's body, when this is a right answer."""
