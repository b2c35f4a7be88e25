"""Ids are readable, the same on every attempt, and never two things' at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model import ids

RUN = "1f0c9a52-7d3e-4b1a-9c55-0123456789ab"


def test_a_run_key_is_the_first_eight_characters() -> None:
    assert ids.run_key(RUN) == "1f0c9a52"


def test_a_run_key_grows_until_no_other_run_has_it() -> None:
    assert ids.run_key(RUN, taken=frozenset({"1f0c9a52"})) == "1f0c9a52-"
    assert ids.run_key(RUN, taken=frozenset({"1f0c9a52", "1f0c9a52-"})) == "1f0c9a52-7"


def test_a_run_whose_every_prefix_is_taken_gets_a_number() -> None:
    taken = frozenset(RUN[:length] for length in range(8, len(RUN) + 1))

    assert ids.run_key(RUN, taken=taken) == f"{RUN}~2"
    assert ids.run_key(RUN, taken=taken | {f"{RUN}~2"}) == f"{RUN}~3"


def test_a_short_run_id_is_its_own_key() -> None:
    assert ids.run_key("nightly") == "nightly"


@given(st.lists(st.text("ab", min_size=8, max_size=12), unique=True, max_size=30))
def test_no_two_runs_share_a_key(run_ids: list[str]) -> None:
    taken: set[str] = set()
    for run_id in run_ids:
        taken.add(ids.run_key(run_id, taken=frozenset(taken)))

    assert len(taken) == len(run_ids)


def test_ids_read_as_their_parts() -> None:
    row = ids.row_id("1f0c9a52", 41)
    state = ids.state_id(row, "score", 1)

    assert row == "1f0c9a52-000000041"
    assert state == "1f0c9a52-000000041@score"
    assert ids.state_id(row, "score", 2) == "1f0c9a52-000000041@score~2"
    assert ids.call_id(state, 3) == "1f0c9a52-000000041@score#3"
    assert ids.execution_id("1f0c9a52", "score", 1) == "1f0c9a52/score"
    assert ids.execution_id("1f0c9a52", "score", 2) == "1f0c9a52/score~2"
    assert ids.outcome_id(row, "completed") == "1f0c9a52-000000041!completed"


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_order_keys_sort_as_the_indices_do(indices: list[int]) -> None:
    assert sorted(map(ids.row_order_key, indices)) == [ids.row_order_key(index) for index in sorted(indices)]
