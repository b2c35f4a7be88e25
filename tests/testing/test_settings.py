"""Settings are checked when they are made, and every mistake says what to do next."""

from __future__ import annotations

import json

import pytest

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing import PRESETS, FakeModelSettings, Fault, RetryAfter, Rule, preset
from elspeth_dagster.testing.faults import FINAL
from elspeth_dagster.testing.settings import overridden, settings_json


def test_the_presets_are_named_like_weather() -> None:
    assert list(PRESETS) == ["calm", "busy", "storm", "chaos"]


def test_the_worse_the_weather_the_more_faults() -> None:
    totals = [sum(PRESETS[name].faults.values()) for name in PRESETS]

    assert totals == sorted(totals)
    assert totals[0] == 0
    assert set(PRESETS["chaos"].faults) == set(Fault) - FINAL


def test_a_preset_can_be_changed() -> None:
    changed = preset("storm", seed=7, faults={"http_500": 0.5})

    assert changed.seed == 7
    assert changed.faults == {Fault.HTTP_500: 0.5}
    assert changed.concurrency_max == PRESETS["storm"].concurrency_max


@pytest.mark.parametrize(
    ("changes", "what", "hint"),
    [
        ({"latency": 5}, "no setting 'latency'", "latency_ms"),
        ({"latency_ms": -1}, "latency_ms is -1", "from 0"),
        ({"latency_ms": None}, "latency_ms is None", "number"),
        ({"burst": "many"}, "burst is 'many'", "number"),
        ({"always": 200}, "always is 200", "400"),
        ({"retry_after": "second"}, "no retry_after 'second'", "'seconds'"),
        ({"faults": {"http_5000": 0.1}}, "no fault 'http_5000'", "'http_500'"),
        ({"faults": {"reset": 2}}, "probability of reset is 2", "0 to 1"),
        ({"faults": {"reset": 0.6, "hang": 0.6}}, "add up", "lower"),
        ({"faults": {"reset": "often"}}, "probability of reset is 'often'", "0 to 1"),
        ({"faults": 7}, "faults is 7", "mapping"),
        ({"rate_steps": 7, "rate_per_s": 1}, "wrong type", "help"),
        ({"rate_steps": [(1, 2)]}, "rate_steps needs a rate", "rate_per_s"),
        ({"rate_steps": [(2, 1), (1, 1)], "rate_per_s": 1}, "rate_steps is", "order of time"),
        ({"rules": [{"contains": "x"}]}, "A rule has", "help"),
        ({"rules": "x"}, "rules must be a list", "help"),
    ],
)
def test_a_mistake_says_what_and_what_next(changes: dict[str, object], what: str, hint: str) -> None:
    with pytest.raises(LaunchError, match=what) as refused:
        overridden(FakeModelSettings(), changes)

    assert refused.value.hint is not None
    assert hint in refused.value.hint


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(LaunchError, match="no preset 'strom'") as refused:
        preset("strom")

    assert refused.value.hint == "Did you mean 'storm'?"


def test_settings_survive_the_way_through_json() -> None:
    settings = FakeModelSettings(
        seed=3,
        rate_per_s=5,
        rate_steps=[(1, 2), (3, 4)],
        retry_after=RetryAfter.MS,
        faults={Fault.NAN: 0.25},
        rules=(Rule("x", Fault.HANG, times=2), Rule("y", Fault.RESET)),
        models=["a"],
    )

    assert overridden(FakeModelSettings(), json.loads(settings_json(settings))) == settings


def test_a_key_is_not_shown_when_settings_are_printed() -> None:
    assert "sesame" not in repr(FakeModelSettings(api_key="sesame"))
