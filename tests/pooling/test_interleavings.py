"""Whatever happens in whatever order: rows keep their order, none is lost or doubled, bounds hold, everything ends."""

from __future__ import annotations

import pytest

from tests.pooling.random_walk import walk

EVERYTHING = {
    "succeed",
    "reject",
    "capacity",
    "transient",
    "again",
    "bug",
    "cancelled",
    "retry_timeout",
    "transient_retries_exhausted",
    "all rows",
    "some rows",
    "ended with NoneType",
    "ended with NodeStoppedError",
    "ended with UserBugError",
}


def play(seeds: range) -> set[str]:
    """Play many scenes; what came to pass in them. A failure names its seed."""
    seen: set[str] = set()
    for seed in seeds:
        try:
            seen |= walk(seed)
        except BaseException as error:
            error.add_note(f"the scene of seed {seed}: walk({seed}) plays it again")
            raise
    return seen


def test_the_laws_hold_in_five_hundred_random_scenes() -> None:
    assert play(range(500)) == EVERYTHING


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_laws_hold_in_ten_thousand_random_scenes() -> None:
    assert play(range(10_000)) == EVERYTHING
