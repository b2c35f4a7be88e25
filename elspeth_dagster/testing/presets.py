"""Weather by name: what a model's API is like on a good day, a working day, a bad day and the worst."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.faults import FINAL, Fault
from elspeth_dagster.testing.settings import FakeModelSettings, RetryAfter, overridden
from elspeth_dagster.testing.suggest import did_you_mean

PRESETS: Mapping[str, FakeModelSettings] = {
    "calm": FakeModelSettings(latency_ms=20, latency_spread=0.1),
    "busy": FakeModelSettings(
        latency_ms=50,
        latency_spread=0.3,
        rate_per_s=400,
        burst=40,
        announce_headers=True,
        faults={Fault.HTTP_500: 0.002},
    ),
    "storm": FakeModelSettings(
        latency_ms=80,
        latency_spread=0.6,
        rate_per_s=100,
        burst=10,
        retry_after=RetryAfter.SECONDS,
        concurrency_max=40,
        faults={
            Fault.HTTP_500: 0.01,
            Fault.HTTP_502: 0.01,
            Fault.HTTP_503: 0.01,
            Fault.HTTP_529: 0.01,
            Fault.RESET: 0.005,
            Fault.LENGTH: 0.002,
            Fault.REFUSAL: 0.002,
            Fault.CONTENT_FILTER: 0.002,
        },
    ),
    "chaos": FakeModelSettings(
        latency_ms=250,
        latency_spread=0.8,
        rate_per_s=50,
        burst=10,
        retry_after=RetryAfter.SECONDS,
        concurrency_max=30,
        hang_s=30,
        faults={fault: 0.02 if fault.startswith("http_") else 0.01 for fault in Fault if fault not in FINAL},
    ),
}
"""``calm``, ``busy``, ``storm`` and ``chaos``."""


def preset(name: str, **changes: object) -> FakeModelSettings:
    """The preset of that name, with some fields changed.

    Raises:
        LaunchError: there is no such preset or field, or a value is wrong.
    """
    if name not in PRESETS:
        raise LaunchError(f"There is no preset '{name}'.", hint=did_you_mean(name, PRESETS))
    return overridden(PRESETS[name], changes)
