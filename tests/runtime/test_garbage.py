"""The collector leaves alone what was there before a node ran, and only while it runs."""

from __future__ import annotations

import gc

import pytest

from elspeth_dagster.runtime.garbage import old_objects_left_alone


def test_what_was_there_is_left_alone_while_rows_flow() -> None:
    before: list[object] = []

    with old_objects_left_alone():
        assert not any(known is before for known in gc.get_objects())
        assert gc.get_freeze_count() > 0

    assert any(known is before for known in gc.get_objects())


def test_a_node_that_stops_gives_everything_back() -> None:
    with pytest.raises(ValueError, match="stopped"), old_objects_left_alone():
        raise ValueError("stopped")

    assert gc.get_freeze_count() == 0
