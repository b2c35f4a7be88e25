"""Batches are cut alike from the same rows, hold every row once and in order, and say what made them fire."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.expressions import Expression
from elspeth_dagster.model.outcome import BatchTrigger
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.batching import BATCH_AGE, BATCH_COUNT, Cut, Cutter, Triggers

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = {BATCH_COUNT: frozenset[str](), BATCH_AGE: frozenset[str]()}


@dataclass(frozen=True)
class Came:
    """A row, its group, and the seconds after the beginning at which it left the step before; None: nobody knows."""

    group: str
    second: float | None = 0.0
    closes: bool = False

    @property
    def row(self) -> Row:
        return {"group": self.group, "closes": self.closes}

    @property
    def at(self) -> dt.datetime | None:
        return None if self.second is None else BEGAN + dt.timedelta(seconds=self.second)


def triggers(
    count: int | None = None, timeout: float | None = None, condition: str | None = None
) -> Triggers:
    expression = None if condition is None else Expression.compile(condition, where="c", names=NAMES)
    return Triggers(count, None if timeout is None else dt.timedelta(seconds=timeout), expression)


def cut(when: Triggers, came: Sequence[Came], *, grouped: bool = False) -> list[Cut[int]]:
    cutter: Cutter[int] = Cutter(when, ("group",) if grouped else ())
    cuts = [one for at, each in enumerate(came) for one in cutter.arrive(at, each.row, each.at).cuts]
    return [*cuts, *cutter.end()]


def shown(cuts: Sequence[Cut[int]]) -> list[tuple[list[int], str, float]]:
    return [(list(one.members), one.trigger.value, one.age_seconds) for one in cuts]


def test_count_fires_with_the_row_that_fills_the_batch() -> None:
    assert shown(cut(triggers(count=2), [Came("a")] * 5)) == [
        ([0, 1], "count", 0.0),
        ([2, 3], "count", 0.0),
        ([4], "end_of_source", 0.0),
    ]


def test_a_timeout_is_judged_before_the_arriving_row_is_taken_in() -> None:
    came = [Came("a", 0), Came("a", 4.9), Came("a", 5), Came("a", 6)]

    assert shown(cut(triggers(timeout=5), came)) == [([0, 1], "timeout", 5.0), ([2, 3], "end_of_source", 1.0)]


def test_a_timeout_fires_at_any_arrival_also_of_another_group() -> None:
    came = [Came("a", 0), Came("b", 3), Came("b", 6), Came("a", 7)]

    assert shown(cut(triggers(timeout=5), came, grouped=True)) == [
        ([0], "timeout", 6.0),
        ([1, 2], "end_of_source", 3.0),
        ([3], "end_of_source", 0.0),
    ]


def test_several_batches_that_are_over_at_once_fire_in_the_order_they_were_due() -> None:
    came = [Came("b", 1), Came("a", 0), Came("c", 9)]

    assert [list(one.members) for one in cut(triggers(timeout=5), came, grouped=True)] == [[1], [0], [2]]


def test_a_row_that_was_completed_before_the_first_one_makes_no_negative_age() -> None:
    came = [Came("a", 9), Came("a", 2)]

    assert shown(cut(triggers(count=2, timeout=5), came)) == [([0, 1], "count", 0.0)]


def test_rows_straight_from_a_source_have_no_age() -> None:
    came = [Came("a", None)] * 3

    assert shown(cut(triggers(timeout=0.001), came)) == [([0, 1, 2], "end_of_source", 0.0)]


def test_a_condition_sees_the_arriving_row_the_count_with_it_and_the_age() -> None:
    condition = "row.closes or batch_count >= 3 or batch_age_seconds >= 2"
    came = [Came("a"), Came("a", 0, closes=True), *[Came("a")] * 3, Came("a", 0), Came("a", 2.5)]

    assert shown(cut(triggers(condition=condition), came)) == [
        ([0, 1], "condition", 0.0),
        ([2, 3, 4], "condition", 0.0),
        ([5, 6], "condition", 2.5),
    ]


def test_count_is_recorded_where_count_and_condition_fire_together() -> None:
    assert shown(cut(triggers(count=2, condition="batch_count == 2"), [Came("a")] * 2)) == [
        ([0, 1], "count", 0.0)
    ]


def test_a_condition_that_fails_or_is_not_boolean_refuses_its_row_only() -> None:
    for condition in ("row.group > 3", "row.missing", "batch_count"):
        cutter: Cutter[int] = Cutter(triggers(count=9, condition=condition))
        arrived = cutter.arrive(0, Came("a").row, BEGAN)
        assert isinstance(arrived.refused, Rejected)
        assert arrived.refused.reason == "expression_failed"
        assert cutter.end() == []


def test_a_row_without_the_field_of_its_group_is_refused_and_null_is_a_group() -> None:
    cutter: Cutter[int] = Cutter(triggers(count=2), ("group",))

    refused = cutter.arrive(0, {"other": 1}, None).refused
    assert refused is not None
    assert (refused.reason, refused.facts) == ("missing_field", {"field": "group"})
    cutter.arrive(1, {"group": None}, None)
    assert [one.key for one in cutter.end()] == [{"group": None}]


def test_one_and_one_point_zero_are_one_group_and_true_is_another() -> None:
    cutter: Cutter[int] = Cutter(triggers(count=9), ("group",))
    values: list[JSON] = [1, 1.0, True, "1"]
    for at, value in enumerate(values):
        cutter.arrive(at, {"group": value}, None)

    assert [list(one.members) for one in cutter.end()] == [[0, 1], [2], [3]]


_rows = st.lists(
    st.builds(
        Came,
        group=st.sampled_from("abc"),
        second=st.none() | st.integers(0, 20).map(float),
        closes=st.booleans(),
    ),
    max_size=40,
)
_triggers = st.builds(
    triggers,
    count=st.none() | st.integers(1, 6),
    timeout=st.none() | st.integers(1, 8).map(float),
    condition=st.none() | st.just("row.closes"),
)


@given(when=_triggers, came=_rows, grouped=st.booleans())
def test_every_row_is_in_one_batch_in_order_with_its_group_alone(
    when: Triggers, came: list[Came], *, grouped: bool
) -> None:
    cuts = cut(when, came, grouped=grouped)

    assert sorted(member for one in cuts for member in one.members) == list(range(len(came)))
    assert [one.index for one in cuts] == list(range(len(cuts)))
    for one in cuts:
        assert list(one.members) == sorted(one.members)
        if grouped:
            assert {came[member].group for member in one.members} == {one.key["group"]}


@given(when=_triggers, came=_rows, grouped=st.booleans())
def test_what_fired_is_what_the_triggers_say(when: Triggers, came: list[Came], *, grouped: bool) -> None:
    for one in cut(when, came, grouped=grouped):
        assert when.count is None or len(one.members) <= when.count
        assert (one.trigger is BatchTrigger.COUNT) == (len(one.members) == when.count)
        if one.trigger is BatchTrigger.TIMEOUT:
            assert when.timeout is not None
            assert one.age_seconds >= when.timeout.total_seconds()
        if when.condition is not None:
            assert not any(came[member].closes for member in one.members[:-1])
        if one.trigger is BatchTrigger.CONDITION:
            assert came[one.members[-1]].closes


@given(_triggers, _rows)
def test_the_cuts_are_those_of_a_list_that_is_looked_at_row_by_row(when: Triggers, came: list[Came]) -> None:
    batches: list[list[int]] = []
    filling: list[int] = []
    for at, each in enumerate(came):
        first = came[filling[0]].second if filling else None
        age = 0.0 if first is None or each.second is None else each.second - first
        if when.timeout and age >= when.timeout.total_seconds():
            batches.append(filling)
            filling = []
        filling.append(at)
        if len(filling) == when.count or (when.condition is not None and each.closes):
            batches.append(filling)
            filling = []
    batches += [filling] if filling else []

    assert [list(one.members) for one in cut(when, came)] == batches


def test_deadlines_of_batches_that_fired_otherwise_are_forgotten() -> None:
    cutter: Cutter[int] = Cutter(triggers(count=1, timeout=1_000_000))
    for at in range(5_000):
        cutter.arrive(at, {}, BEGAN)

    assert len(cutter._deadlines) < 2_000
