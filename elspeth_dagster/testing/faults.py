"""What can go wrong with a request, by name, and the plan that says which request meets which fault.

The plan looks at three things, the most explicit first: the script (what the next requests get), the rules (what a
request with certain words gets), and the seeded probabilities. How a fault looks on the wire is in ``replies``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.draws import uniform
from elspeth_dagster.testing.suggest import did_you_mean


class Fault(StrEnum):
    """A way to fail. The comments say where the client meets it."""

    # The status line.
    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_429 = "http_429"
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_529 = "http_529"
    # The connection.
    RESET = "reset"
    HANG = "hang"
    SLOW_BODY = "slow_body"
    # The response's body, status 200.
    NOT_JSON = "not_json"
    TRUNCATED_JSON = "truncated_json"
    EMPTY_BODY = "empty_body"
    # The model's answer, inside a well-formed response.
    ANSWER_NOT_JSON = "answer_not_json"
    ANSWER_TRUNCATED = "answer_truncated"
    MISSING_FIELDS = "missing_fields"
    WRONG_TYPES = "wrong_types"
    NAN = "nan"
    REFUSAL = "refusal"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    NO_USAGE = "no_usage"


FINAL = frozenset({Fault.HTTP_400, Fault.HTTP_401})
"""Faults that no weather brings: asking again does not help."""

USABLE = frozenset({Fault.SLOW_BODY, Fault.NO_USAGE})
"""Faults under which the client still gets a right answer."""


def fault_named(name: str) -> Fault:
    """The fault of that name.

    Raises:
        LaunchError: there is none; says which was probably meant.
    """
    try:
        return Fault(name)
    except ValueError:
        raise LaunchError(f"There is no fault '{name}'.", hint=did_you_mean(name, Fault)) from None


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests whose last user message contains ``contains`` meet ``fault``: the first ``times`` of them, or all."""

    contains: str
    fault: Fault
    times: int | None = None


class FaultPlan:
    """Decides which fault a request meets. Owned by the server's loop: not for several threads."""

    def __init__(self, faults: Mapping[str, float], *, rules: Sequence[Rule] = ()) -> None:
        self._faults = tuple((Fault(name), chance) for name, chance in faults.items() if chance > 0)
        self._rules = tuple(rules)
        self._script: deque[Fault | None] = deque()
        self._left = [rule.times for rule in self._rules]

    def script(self, fates: Iterable[Fault | None]) -> None:
        """The next requests that get past the limits meet these, in order of arrival; None is a clean answer."""
        self._script.extend(fates)

    def reset(self) -> None:
        """Forget the script and how often each rule was used."""
        self._script.clear()
        self._left = [rule.times for rule in self._rules]

    def pick(self, key: bytes, *, last_user: str) -> Fault | None:
        """The fault of the request with this key, or None."""
        if self._script:
            return self._script.popleft()
        if self._rules:
            ruled = self._by_rule(last_user)
            if ruled is not None:
                return ruled
        return self._by_chance(key) if self._faults else None

    def _by_rule(self, last_user: str) -> Fault | None:
        for index, rule in enumerate(self._rules):
            left = self._left[index]
            if rule.contains not in last_user or left == 0:
                continue
            if left is not None:
                self._left[index] = left - 1
            return rule.fault
        return None

    def _by_chance(self, key: bytes) -> Fault | None:
        point = uniform(key, "fault")
        for fault, chance in self._faults:
            if point < chance:
                return fault
            point -= chance
        return None
