"""Storing a unit: what was stored before is compared, and a difference is loud and final."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import AuditConflictError, FenceLostError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import check_fence, store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import COMPARED_COLUMNS, Cell, Record, Unit, closed, sealed
from elspeth_dagster.model import ids
from tests.landscape.material import (
    NOW,
    RUN_ID,
    SALT,
    FakeClock,
    begun,
    count_of,
    done_state,
    open_state,
    outcome,
    source_unit,
    specimens,
    stored_specimens,
)

EVIDENCE = [table.name for table in schema.EVIDENCE]


def commit(database: Database, unit: Unit) -> None:
    with database.write() as connection:
        store(connection, unit)


def one(table: str, record: Record) -> Unit:
    unit = Unit()
    unit.insert(table, record)
    return unit


def closing(table: str, record: Record) -> Unit:
    unit = Unit()
    unit.close(table, record)
    return unit


def record_of(table: str, **changes: Cell) -> Record:
    """The specimen of a table, changed and sealed anew."""
    specimen = specimens()[table]
    cells = list(specimen.changed(**changes).values())[:-1]
    return sealed(table, *cells)


def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.read() as connection:
        return {
            name: [
                tuple(row)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            ]
            for name, table in schema.metadata.tables.items()
        }


@pytest.mark.parametrize("rows", [1, 9, 10, 111, 1234])
def test_a_unit_of_any_size_is_stored_whole_and_may_be_sent_again(
    database: Database, clock: FakeClock, rows: int
) -> None:
    handle = begun(database, clock=clock)
    unit = source_unit(handle, range(rows))

    commit(database, unit)
    once = everything(database)
    commit(database, unit)

    assert everything(database) == once
    assert sorted(str(record[0]) for record in unit.inserts["rows"]) == [record[0] for record in once["rows"]]


def test_one_record_among_many_that_differs_is_found(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    commit(database, source_unit(handle, [777], port="elsewhere"))

    with pytest.raises(AuditConflictError, match=r"000000777.*out_port"):
        commit(database, source_unit(handle, range(1234)))

    assert count_of(database, "rows") == 1


@pytest.mark.parametrize("table", EVIDENCE)
def test_the_same_record_again_is_no_new_record(database: Database, table: str) -> None:
    stored_specimens(database)
    before = everything(database)

    commit(database, one(table, record_of(table)))

    assert everything(database) == before


@pytest.mark.parametrize("table", EVIDENCE)
def test_the_same_id_with_another_content_is_a_conflict(database: Database, table: str) -> None:
    specimen = stored_specimens(database)[table]
    before = everything(database)
    changed = [
        (column.name, other)
        for column in specimen.table.columns
        if column.name in COMPARED_COLUMNS.get(table, specimen.table.columns.keys())
        and not column.primary_key
        and (other := _other(column, specimen.cells[column.name])) is not None
    ]

    for name, other in changed:
        with pytest.raises(AuditConflictError, match=f"{table} is there already, with another {name}"):
            commit(database, one(table, record_of(table, **{name: other})))

    assert everything(database) == before


def _other(column: sa.Column[object], cell: Cell) -> Cell:
    if column.name in {"record_hash", "seal_hash"}:
        return None  # follows from the others
    if column.name in {"relation", "trigger_type"}:
        return {"relation": "join", "trigger_type": "timeout"}[column.name]
    if column.name in {"status", "outcome"}:
        return "failed"
    if isinstance(column.type, sa.LargeBinary):
        return b"changed"
    if isinstance(column.type, sa.Boolean):
        return not cell
    if isinstance(column.type, sa.Integer | sa.Float):
        return 99
    return "changed"


@pytest.mark.parametrize(
    "table", ["rows", "tokens", "token_parents", "batch_members", "batch_outputs", "validation_errors"]
)
def test_a_later_execution_may_register_the_same_again(database: Database, table: str) -> None:
    stored_specimens(database)
    before = everything(database)

    commit(database, one(table, record_of(table, execution_id="1f0c9a52/score~2")))

    assert everything(database) == before


def test_content_that_is_there_is_kept(database: Database) -> None:
    unit = one("payloads", ("row", b"hash", b"body"))
    unit.insert("row_salts", ("row", RUN_ID, SALT))

    commit(database, unit)
    commit(database, unit)

    assert (count_of(database, "payloads"), count_of(database, "row_salts")) == (1, 1)


def test_new_records_beside_known_ones_are_stored(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    commit(database, source_unit(handle, range(3)))

    commit(database, source_unit(handle, range(6)))

    assert [count_of(database, table) for table in ("rows", "tokens", "payloads", "row_salts")] == [6] * 4


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_on_postgresql_keys_are_locked_in_one_order_by_everybody(
    database: Database, clock: FakeClock
) -> None:
    handle = begun(database, clock=clock)
    locked: list[tuple[str, list[object]]] = []

    def note(*event: Any) -> None:
        _connection, _cursor, statement, parameters, _context, _many = event
        if statement.startswith("INSERT"):
            locked.append((statement.split()[2], [record[0] for record in parameters]))

    sa.event.listen(database.engine, "before_cursor_execute", note)

    commit(database, source_unit(handle, [5, 3, 9, 0]))

    tables = [table for table, _ in locked]
    in_order = [table.name for table in schema.metadata.sorted_tables if table.name in tables]
    assert tables == in_order
    assert len(tables) == 4
    for _, keys in locked:
        assert keys == [ids.row_id(handle.run_key, index) for index in (0, 3, 5, 9)]


def test_one_conflict_among_many_undoes_the_whole_unit(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    commit(database, source_unit(handle, [2]))
    unit = source_unit(handle, range(5))
    bad = list(unit.inserts["rows"][2])
    bad[schema.rows.columns.keys().index("data_hash")] = b"another file"
    unit.inserts["rows"][2] = sealed("rows", *bad[:-1])

    with pytest.raises(AuditConflictError, match="with another data_hash") as conflict:
        commit(database, unit)

    assert ids.row_id(handle.run_key, 2) in str(conflict.value)
    assert "start a new run" in str(conflict.value)
    assert count_of(database, "rows") == 1


def test_one_id_twice_in_a_unit_must_say_the_same(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    unit = source_unit(handle, [0])
    unit.absorb(source_unit(handle, [0]))
    commit(database, unit)
    assert count_of(database, "rows") == 1

    unit.insert("rows", (*unit.inserts["rows"][0][:-2], "1f0c9a52/source", b"another hash"))
    commit(database, unit)  # `rows` are compared without execution and hash
    assert count_of(database, "rows") == 1
    twice = one("token_outcomes", outcome(handle, 0))
    twice.insert("token_outcomes", (*outcome(handle, 0)[:7], "another code", *outcome(handle, 0)[8:]))
    with pytest.raises(AuditConflictError, match="another error_code"):
        commit(database, twice)


def test_another_id_for_what_is_unique_is_a_conflict(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    commit(database, source_unit(handle, [0]))
    commit(database, one("token_outcomes", outcome(handle, 0, "completed")))

    with pytest.raises(AuditConflictError, match="refused a record"):
        commit(database, one("token_outcomes", outcome(handle, 0, "failed")))

    assert count_of(database, "token_outcomes") == 1


def test_a_record_without_its_parent_is_refused(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)

    with pytest.raises(AuditConflictError, match="refused a record"):
        commit(database, one("node_states", open_state(handle, 0)))


# Closing ------------------------------------------------------------------------------------------------------------


def opened_state(database: Database, clock: FakeClock) -> tuple[ExecutionHandle, Record]:
    source = begun(database, clock=clock)
    commit(database, source_unit(source, [0]))
    handle = begun(database, "score", clock=clock)
    state = open_state(handle, 0)
    commit(database, one("node_states", state))
    return handle, state


def test_an_open_record_closes_as_it_was_sealed(database: Database, clock: FakeClock) -> None:
    handle, _ = opened_state(database, clock)
    final = done_state(handle, 0)

    commit(database, closing("node_states", final))

    assert everything(database)["node_states"] == [final]


def test_closing_again_alike_changes_nothing(database: Database, clock: FakeClock) -> None:
    handle, _ = opened_state(database, clock)
    commit(database, closing("node_states", done_state(handle, 0)))
    before = everything(database)

    commit(database, closing("node_states", done_state(handle, 0)))

    assert everything(database) == before


def test_closing_again_otherwise_is_a_conflict(database: Database, clock: FakeClock) -> None:
    handle, state = opened_state(database, clock)
    commit(database, closing("node_states", done_state(handle, 0)))
    before = everything(database)

    with pytest.raises(AuditConflictError, match="with another out_port"):
        commit(
            database, closing("node_states", closed("node_states", state, status="failed", completed_at=NOW))
        )

    assert everything(database) == before


def test_closing_what_is_not_there_is_a_conflict(database: Database, clock: FakeClock) -> None:
    handle, _ = opened_state(database, clock)

    with pytest.raises(AuditConflictError, match="was to be closed, but is not there"):
        commit(database, closing("node_states", done_state(handle, 7)))


def test_what_a_unit_opens_it_can_close(database: Database, clock: FakeClock) -> None:
    source = begun(database, clock=clock)
    commit(database, source_unit(source, [0]))
    handle = begun(database, "score", clock=clock)
    unit = one("node_states", open_state(handle, 0))
    unit.close("node_states", done_state(handle, 0))

    commit(database, unit)

    assert everything(database)["node_states"] == [done_state(handle, 0)]


# The fence ----------------------------------------------------------------------------------------------------------


def test_who_holds_the_fence_may_write(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)

    with database.write() as connection:
        check_fence(connection, handle)

    assert count_of(database, "fences") == 1


@pytest.mark.parametrize(
    "other",
    [{"execution_id": "1f0c9a52/source~9"}, {"run_id": "another run"}, {"node_id": "good"}],
    ids=["execution", "run", "node"],
)
def test_who_does_not_hold_the_fence_must_not_write(
    database: Database, clock: FakeClock, other: dict[str, str]
) -> None:
    handle = begun(database, clock=clock)
    stranger = replace(handle, **other)  # type: ignore[arg-type]

    with pytest.raises(FenceLostError) as lost, database.write() as connection:
        check_fence(connection, stranger)

    assert stranger.execution_id in str(lost.value)
    assert stranger.node_id in str(lost.value)


def test_a_fence_that_is_gone_says_that_the_landscape_is_another(
    database: Database, clock: FakeClock
) -> None:
    handle = begun(database, clock=clock)
    with database.write() as connection:  # as restoring an older state in the middle of a run does
        connection.exec_driver_sql("DELETE FROM fences")

    with (
        pytest.raises(
            FenceLostError, match=r"does not know execution .* any more: it was restored or replaced"
        ),
        database.write() as connection,
    ):
        check_fence(connection, handle)
