"""Partitions: what can be declared, which record is whose, and that no two partitions share a file."""

from __future__ import annotations

import pytest

from elspeth_dagster.pipeline.partition_spec import Partitions
from elspeth_dagster.pipeline.partitions import shard_of, shards
from tests.pipeline.conftest import Load, Mistakes

ONE_SINK = """\
name: p
source: {kind: csv, path: in.csv, columns: {id: int}}
sinks: {out: {kind: csv, from: source, path: "out/{partition}.csv"}}
"""
WATCHING = ONE_SINK.replace("path: in.csv", 'path: "inbox/{partition}.csv"')


@pytest.mark.parametrize("count", [1, 2, 7, 16, 100])
def test_every_record_is_one_shards_and_the_keys_sort_as_the_shards_do(count: int) -> None:
    division = Partitions(shards=count)
    made = shards(division)

    assert [sum(shard.takes(record) for shard in made) for record in range(200)] == [1] * 200
    assert sorted(shard.key for shard in made) == [shard.key for shard in made]
    assert [shard_of(division, shard.key) for shard in made] == list(made)


@pytest.mark.parametrize(
    "written",
    ["{shards: 16}", "{daily: {start: 2026-01-01}}", "{static: [a, b]}", "dynamic", "{dynamic: true}"],
)
def test_every_way_of_dividing_can_be_declared(load: Load, written: str) -> None:
    assert load(ONE_SINK + f"partitions: {written}\n").head.division is not None


def test_a_watched_pattern_makes_dynamic_partitions(load: Load) -> None:
    division = load(WATCHING + 'watch: "inbox/*.csv"\n').head.division

    assert division is not None
    assert division.dynamic


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{shards: 0}", "greater than or equal to 1"),
        ("{shards: '4'}", "Expected a whole number, found text"),
        ("{shards: 4, static: [a]}", "Choose one of"),
        ("{}", "Choose one of"),
        ("dynamik", "Did you mean 'dynamic'"),
        ("{shard: 4}", "Did you mean 'shards'"),
        ("{daily: {start: yesterday}}", "isoformat"),
        ("{daily: {start: 2026-01-01, timezone: Mars}}", "no time zone 'Mars'"),
        ("{static: [a, a]}", "named twice"),
        ("{static: ['']}", "is empty"),
    ],
)
def test_a_division_that_cannot_be_is_refused(mistakes: Mistakes, written: str, said: str) -> None:
    (mistake,) = mistakes(ONE_SINK + f"partitions: {written}\n")

    assert "partitions" in mistake
    assert said in mistake


def test_two_partitions_never_write_one_file(mistakes: Mistakes) -> None:
    (mistake,) = mistakes(ONE_SINK.replace("{partition}", "all") + "partitions: {shards: 2}\n")

    assert "put {partition} into the path" in mistake


def test_a_path_with_a_partition_needs_partitions(mistakes: Mistakes) -> None:
    assert all("the pipeline has no `partitions`" in mistake for mistake in mistakes(WATCHING))


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ("inbox/**/*.csv", "one `*`"),
        ("inbox/[ab]*.csv", "one `*`"),
        ("inbox/all.csv", "one `*`"),
        ("other/*.csv", "write `path: other/{partition}.csv`"),
    ],
)
def test_a_pattern_that_the_source_does_not_read_is_refused(
    mistakes: Mistakes, watch: str, said: str
) -> None:
    (mistake,) = mistakes(WATCHING + f'watch: "{watch}"\n')

    assert said in mistake


def test_a_watched_file_is_a_dynamic_partition(mistakes: Mistakes) -> None:
    (mistake,) = mistakes(WATCHING + 'watch: "inbox/*.csv"\npartitions: {static: [a]}\n')

    assert "partitions: dynamic" in mistake


@pytest.mark.parametrize("condition", ["eagr", "0 6 * *"])
def test_an_automation_that_does_not_exist_is_refused(mistakes: Mistakes, condition: str) -> None:
    text = ONE_SINK.replace("{partition}", "all") + f'dagster: {{automation: "{condition}"}}\n'
    (mistake,) = mistakes(text)

    assert "`eager`, `on_missing`, or a cron expression" in mistake
