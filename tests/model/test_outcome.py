"""The words that the Landscape stores."""

from __future__ import annotations

from enum import StrEnum

import pytest

from elspeth_dagster.model.outcome import CallStatus, ExecutionStatus, Outcome, RunStatus, StateStatus


def test_only_a_buffered_token_has_not_ended() -> None:
    assert [outcome for outcome in Outcome if not outcome.is_terminal] == [Outcome.BUFFERED]


@pytest.mark.parametrize("words", [Outcome, StateStatus, CallStatus, ExecutionStatus, RunStatus])
def test_every_word_is_its_own_name_in_lower_case(words: type[StrEnum]) -> None:
    assert [word.value for word in words] == [word.name.lower() for word in words]
