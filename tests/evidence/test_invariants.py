"""Every invariant has a mutant: a small edit, with every hash and seal made to fit it, that this check reports."""

from __future__ import annotations

import pytest

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.explain import explain_row
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import CHECKS
from elspeth_dagster.landscape.visits import nothing_read
from tests.evidence.conftest import Copy
from tests.evidence.honest import RUN_ID
from tests.evidence.mutants import MUTANTS
from tests.evidence.rewriting import rehash, reseal

WITHOUT_MUTANT_HERE = {
    "every record has the hash of its columns": "test_tampering.py",
    "every body has the hash that was recorded": "test_tampering.py",
    "every recorded hash has its body, or was purged": "test_tampering.py",
    "every sink's file is what was written": "test_a_sinks_file_that_was_edited",
    "what was sealed is what is there": "test_chain.py",
    "Dagster's log has the same seals": "test_chain.py",
    "Dagster's runs ended as it is recorded": "test_chain.py",
}


def _reported(copy: Copy) -> dict[str, list[str]]:
    report = copy.report(with_dagster=False)
    found = {
        check.name: [finding.key for finding in check.findings] for check in report.checks if check.findings
    }
    assert not [
        finding for check in report.checks for finding in check.findings if finding.check == "unreadable"
    ]
    return found


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_reported_by_its_invariant_though_every_hash_fits(copy: Copy, name: str) -> None:
    mutant = MUTANTS[name]
    copy.change(*mutant.statements)
    rehash(copy)
    reseal(copy)
    found = _reported(copy)
    (check,) = [words for words in CHECKS if mutant.check in words]
    assert "every record has the hash of its columns" not in found
    assert any(mutant.key == key or mutant.key in key.split(", ") for key in found.get(check, [])), found


def test_every_invariant_has_a_mutant() -> None:
    with_mutant = {words for words in CHECKS for mutant in MUTANTS.values() if mutant.check in words}
    assert with_mutant.isdisjoint(WITHOUT_MUTANT_HERE)
    assert with_mutant | WITHOUT_MUTANT_HERE.keys() == CHECKS.keys()


def test_an_honest_run_that_is_rehashed_and_resealed_has_no_finding(copy: Copy) -> None:
    rehash(copy)
    reseal(copy)
    assert copy.findings() == []


def test_a_sinks_file_that_was_edited(copy: Copy, honest: Copy) -> None:
    path = honest.path.parent / "totals.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        found = _reported(copy)
    finally:
        path.write_bytes(before)
    assert found == {"every sink's file is what was written": ["0123abcd/totals="]}


def _as_shard(copy: Copy, key: str, *, count: int, index: int) -> None:
    """Make the honest run one of a shard: its rows are every ``count``-th."""
    copy.change(
        "UPDATE runs SET spec_json = json_set(spec_json, '$.partitions', json('{\"shards\": 3}'))",
        ("UPDATE runs SET partition_key = ?", (key,)),
        ("UPDATE rows SET row_index = -1 - row_index * ? - ?", (count, index)),
        "UPDATE rows SET row_index = -1 - row_index",
    )


GAPS = "every row has its token, row indices have no gap"


def test_the_rows_of_a_shard_are_every_nth_and_a_missing_or_strange_one_is_reported(copy: Copy) -> None:
    _as_shard(copy, "1-of-3", count=3, index=1)
    rehash(copy)
    reseal(copy)
    assert _reported(copy) == {}
    run = find_run(copy.database, RUN_ID)
    with pytest.raises(LandscapeError, match=r"its rows are 1 to \d+, every 3 rows"):
        explain_row(copy.database, run, 0, values_read=nothing_read)

    copy.change("UPDATE rows SET row_index = 100 WHERE row_index = 10")
    rehash(copy)
    reseal(copy)
    assert _reported(copy) == {GAPS: [f"{RUN_ID}, source"]}

    copy.change("UPDATE rows SET row_index = 9 WHERE row_index = 100")
    rehash(copy)
    reseal(copy)
    assert _reported(copy) == {GAPS: [f"{RUN_ID}, source"]}


def test_a_partition_that_is_only_named_like_a_shard_has_every_row(copy: Copy) -> None:
    copy.change("UPDATE runs SET partition_key = '1-of-3'")
    rehash(copy)
    reseal(copy)
    assert _reported(copy) == {}
