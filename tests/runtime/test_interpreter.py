"""While a node runs the interpreter is set up for rows, and afterwards it is as it was."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from elspeth_dagster.runtime.interpreter import SWITCH_S, YOUNG_OBJECTS, set_up_for_rows

Settings = tuple[float, tuple[int, int, int], int]


def settings() -> Settings:
    return sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    switch_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(switch_s)
    gc.set_threshold(*thresholds)


def test_what_was_there_is_left_alone_while_rows_flow() -> None:
    before: list[object] = []

    with set_up_for_rows():
        assert not any(known is before for known in gc.get_objects())
        assert gc.get_freeze_count() > 0

    assert any(known is before for known in gc.get_objects())


def test_young_garbage_does_not_grow_old_by_being_frozen() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    gone = weakref.ref(Cycle())

    with set_up_for_rows():
        assert gone() is None


def test_threads_take_turns_sooner_and_young_objects_are_looked_at_less_often() -> None:
    before = settings()

    with set_up_for_rows():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert gc.get_threshold() == (YOUNG_OBJECTS, *before[1][1:])

    assert settings() == before


def test_a_node_that_stops_gives_everything_back() -> None:
    before = settings()

    with pytest.raises(ValueError, match="stopped"), set_up_for_rows():
        raise ValueError("stopped")

    assert settings() == before


def test_of_two_nodes_at_once_the_last_gives_everything_back() -> None:
    before = settings()
    first, second = set_up_for_rows(), set_up_for_rows()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    assert gc.get_freeze_count() > 0
    second.__exit__(None, None, None)

    assert settings() == before


def test_what_somebody_set_further_is_kept() -> None:
    sys.setswitchinterval(SWITCH_S / 5)
    gc.set_threshold(0, 7, 9)
    before = settings()

    with set_up_for_rows():
        assert sys.getswitchinterval() == before[0]
        assert gc.get_threshold() == (0, 7, 9)

    assert settings() == before
