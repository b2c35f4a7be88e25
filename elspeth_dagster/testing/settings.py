"""How the fake model behaves: one frozen value, checked when it is made.

The default is the friendliest server there is: at once, without limits, without faults. ``presets`` has named ones.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.faults import Fault, Rule, fault_named
from elspeth_dagster.testing.suggest import did_you_mean


class RetryAfter(StrEnum):
    """How a 429, 503 or 529 says when to come back."""

    NONE = "none"
    SECONDS = "seconds"
    """``Retry-After`` in whole seconds, rounded up."""
    MS = "ms"
    """``retry-after-ms``: exact."""
    DATE = "date"
    """``Retry-After`` as an HTTP date, rounded up to the second."""


_RANGES: Mapping[str, tuple[float, float]] = {
    "latency_ms": (0, 600_000),
    "latency_spread": (0, 3),
    "rate_per_s": (0, 1_000_000),
    "burst": (1, 1_000_000),
    "concurrency_max": (1, 1_000_000),
    "always": (400, 599),
    "drop_after": (0, 1_000_000_000),
    "hang_s": (0, 3_600),
    "slow_body_s": (0, 600),
    "body_bytes_max": (1, 64 * 2**20),
}
"""Beyond them a number is a slip of the keyboard rather than weather."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModelSettings:
    """The weather.

    Raises:
        LaunchError: a value is out of its range, or a name is unknown.
    """

    seed: int = 0
    latency_ms: float = 0.0
    """The median time from a request to its answer."""
    latency_spread: float = 0.0
    """0: every answer takes ``latency_ms``; else the sigma of a seeded lognormal around it."""
    rate_per_s: float | None = None
    """Tokens a second of the bucket; None: no limit. 0: nothing passes once the burst is spent."""
    burst: float = 10
    """What the bucket holds when full; it starts full."""
    rate_steps: Sequence[tuple[float, float]] = ()
    """``(after_s, rate_per_s)``: the rate from that many seconds after the first request on."""
    charge_rejected: bool = False
    """A 429 costs a token too: who hammers, starves."""
    retry_after: RetryAfter = RetryAfter.NONE
    announce_headers: bool = False
    """Send ``x-ratelimit-limit-requests``, ``-remaining-requests`` and ``-reset-requests``."""
    concurrency_max: int | None = None
    """Requests in flight beyond this many get a 429."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Fault name to probability."""
    rules: Sequence[Rule] = ()
    always: int | None = None
    """Answer every request with this status."""
    drop_after: int | None = None
    """After this many requests the server goes away: connections are reset and new ones refused."""
    hang_s: float = 60.0
    slow_body_s: float = 2.0
    api_key: str | None = field(default=None, repr=False)
    models: Sequence[str] | None = None
    body_bytes_max: int = 4 * 2**20

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"rate_per_s", "concurrency_max", "always", "drop_after"})

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low=low, high=high)
        object.__setattr__(self, "retry_after", _retry_after(self.retry_after))
        object.__setattr__(self, "faults", _checked_faults(self.faults))
        object.__setattr__(self, "rate_steps", _checked_steps(self.rate_steps))
        if self.rate_steps and self.rate_per_s is None:
            raise LaunchError("rate_steps needs a rate to start from.", hint="give rate_per_s as well")


def overridden(base: FakeModelSettings, changes: Mapping[str, object]) -> FakeModelSettings:
    """``base`` with some fields changed, named as in :class:`FakeModelSettings`; rules may be plain mappings.

    Raises:
        LaunchError: a name or a value is wrong.
    """
    known = [one.name for one in dataclasses.fields(FakeModelSettings)]
    for name in changes:
        if name not in known:
            raise LaunchError(f"The fake model has no setting '{name}'.", hint=did_you_mean(name, known))
    values = dict(changes)
    if "rules" in values:
        values["rules"] = _rules(values["rules"])
    try:
        return dataclasses.replace(base, **values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as problem:
        raise LaunchError(
            f"A setting of the fake model has the wrong type: {problem}", hint=_SEE
        ) from problem


def settings_json(settings: FakeModelSettings) -> str:
    """The settings as one JSON object, which :func:`overridden` reads back."""
    return json.dumps(dataclasses.asdict(settings))


_SEE = "see elspeth-dagster fake-model --help"


def _rules(given: object) -> tuple[Rule, ...]:
    if not isinstance(given, list | tuple):
        raise LaunchError("rules must be a list.", hint=_SEE)
    return tuple(one if isinstance(one, Rule) else _rule(one) for one in given)


def _rule(given: object) -> Rule:
    if not isinstance(given, Mapping) or not {"contains", "fault"} <= set(given) <= {
        "contains",
        "fault",
        "times",
    }:
        raise LaunchError("A rule has 'contains', 'fault' and perhaps 'times'.", hint=_SEE)
    return Rule(str(given["contains"]), fault_named(str(given["fault"])), given.get("times"))


def _retry_after(given: str) -> RetryAfter:
    try:
        return RetryAfter(given)
    except ValueError:
        hint = did_you_mean(str(given), RetryAfter)
        raise LaunchError(f"There is no retry_after '{given}'.", hint=hint) from None


def _check_range(name: str, value: object, *, low: float, high: float) -> None:
    if value is None and name in FakeModelSettings.OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise LaunchError(f"{name} is {value!r}.", hint=f"give a number from {low} to {high}")


def _checked_faults(given: Mapping[str, float]) -> dict[Fault, float]:
    if not isinstance(given, Mapping):
        raise LaunchError(f"faults is {given!r}.", hint="give a mapping of fault name to probability")
    faults = {fault_named(name): chance for name, chance in given.items()}
    for name, chance in faults.items():
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            raise LaunchError(f"The probability of {name} is {chance!r}.", hint="give a number from 0 to 1")
    if sum(faults.values()) > 1 + 1e-9:
        hint = "a request meets at most one fault: lower some"
        raise LaunchError("The faults' probabilities add up to more than 1.", hint=hint)
    return faults


def _checked_steps(given: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    steps = tuple((float(after_s), float(rate_per_s)) for after_s, rate_per_s in given)
    times = [after_s for after_s, _ in steps]
    if times != sorted(times) or any(after_s < 0 or rate_per_s < 0 for after_s, rate_per_s in steps):
        hint = "give (after seconds, rate per second) pairs in order of time, none below 0"
        raise LaunchError(f"rate_steps is {list(steps)}.", hint=hint)
    return steps
