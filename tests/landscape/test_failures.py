"""Failures are told as what they are: what did not fit, with its value while it is kept, and where it went."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.failures import failure_groups
from elspeth_dagster.landscape.records import sealed
from elspeth_dagster.landscape.violation_words import violation_words
from tests.landscape.family import FAMILY_RUN, Family, make_family
from tests.landscape.material import RUN_ID, node


@pytest.mark.parametrize(
    ("code", "expected", "actual", "said"),
    [
        ("wrong_type", "int", "text", "should be int, was text"),
        ("wrong_type", "int", "int", "is no int that can be kept"),
        ("integer_too_large", "int", "int", "is a whole number beyond 2^53-1"),
        ("not_a_number", "float", "float", "is not a finite number"),
        ("missing_field", "int", "missing", "is missing, should be int"),
        ("extra_field", "no such field", "str", "is not a declared column"),
        ("too_many_fields", "3 fields", "4 fields", "has 4 fields, should have 3 fields"),
        ("row_too_large", "at most 10 bytes", "object", "is too large: at most 10 bytes"),
    ],
)
def test_a_violation_is_told_as_what_it_is(code: str, expected: str, actual: str, said: str) -> None:
    assert violation_words(code, expected, actual) == said


def _violated(database: Database, *, field: str | None) -> Family:
    family = make_family(database, 3)
    for index in range(2):
        row_id = family.row_id(index)
        record = sealed(
            "validation_errors", f"{row_id}?0", RUN_ID, row_id, field, "str", "int", "wrong_type",
            family.handles["source"].execution_id,
        )  # fmt: skip
        family.unit.insert("validation_errors", record)
    family.store()
    return family


def test_a_value_that_did_not_fit_is_shown_while_it_is_kept(database: Database) -> None:
    _violated(database, field="id")
    (group,) = failure_groups(database, RUN_ID)
    assert [one.message for one in group.examples] == [
        "id should be str, was int: 0",
        "id should be str, was int: 1",
    ]
    with database.write() as connection:
        connection.execute(sa.delete(schema.payloads))
    (group,) = failure_groups(database, RUN_ID)
    assert {one.message for one in group.examples} == {"id should be str, was int"}


@pytest.mark.parametrize("field", [None, "nowhere"])
def test_what_has_no_value_shows_none(database: Database, field: str | None) -> None:
    _violated(database, field=field)
    (group,) = failure_groups(database, RUN_ID)
    assert group.examples[0].message == f"{field or 'the record'} should be str, was int"


@pytest.mark.parametrize("is_discarded", [True, False])
def test_discarded_rows_are_not_called_kept(database: Database, *, is_discarded: bool) -> None:
    config = {"on_error": "discard"} if is_discarded else {}
    nodes = tuple(
        node("urgency", "llm", **config) if one.node_id == "urgency" else one for one in FAMILY_RUN.nodes
    )
    make_family(database, 2, lost=(1,), run=replace(FAMILY_RUN, nodes=nodes))
    (group,) = failure_groups(database, RUN_ID)
    assert (group.node_id, group.code, group.is_discarded) == ("urgency", "invalid_json", is_discarded)
