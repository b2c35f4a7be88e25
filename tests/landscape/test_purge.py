"""A purge erases the content of old runs and nothing else; what a younger run uses, or may use, is spared."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape import Landscape, schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.purge import PurgePlan, plan_purge, purge
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.vacuum import forget_deleted, size_of, vacuum
from tests.landscape.family import FAMILY_RUN, Family, make_family
from tests.landscape.material import RUN_ID, FakeClock, begun, count_of, done_state, open_call

DAY = dt.timedelta(days=1)
ROWS = 4
YOUNG = replace(FAMILY_RUN, run_id="2b" * 18, dagster_run_id="2b" * 18, pipeline="other")


def _plan(database: Database, clock: FakeClock, *, age: dt.timedelta = 180 * DAY) -> PurgePlan:
    return plan_purge(database, older_than=age, shown="180d", now=clock.now())


def _evidence(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for table in schema.EVIDENCE
        }


@pytest.fixture
def old(database: Database, clock: FakeClock) -> Family:
    """A run that ended 200 days ago."""
    family = make_family(database, ROWS, clock=clock)
    clock.advance(200 * DAY.total_seconds())
    return family


def test_a_purge_erases_bodies_salts_and_request_keys_and_no_evidence(
    database: Database, old: Family, clock: FakeClock
) -> None:
    before = _evidence(database)
    plan = _plan(database, clock)
    assert plan.bodies == count_of(database, "payloads") > ROWS
    assert plan.size_bytes > 0
    purge(database, plan, now=clock.now())
    assert [count_of(database, name) for name in ("payloads", "row_salts", "request_keys")] == [0, 0, 0]
    assert _evidence(database) == before
    assert _plan(database, clock).runs == ()


def test_a_purge_is_on_record(database: Database, old: Family, url: str, clock: FakeClock) -> None:
    plan = _plan(database, clock)
    purge(database, plan, now=clock.now())
    with Landscape.open(url) as landscape:
        (record,) = landscape.purges(old.key)
        story = landscape.explain_row(old.key, 0)
    assert (record.bodies, record.size_bytes, record.older_than) == (plan.bodies, plan.size_bytes, "180d")
    assert story.purged_at == record.purged_at
    assert story.row is not None
    assert story.row.data.is_purged


def test_planning_changes_nothing(database: Database, old: Family, clock: FakeClock) -> None:
    count = count_of(database, "payloads")
    _plan(database, clock)
    assert (count_of(database, "payloads"), count_of(database, "purges")) == (count, 0)


def test_a_younger_run_is_left_alone(database: Database, old: Family, clock: FakeClock) -> None:
    make_family(database, 1, run=YOUNG, clock=clock)
    plan = _plan(database, clock)
    assert [one.run.run_id for one in plan.runs] == [RUN_ID]
    assert _plan(database, clock, age=201 * DAY).runs == ()


def test_a_run_under_way_is_left_alone(database: Database, clock: FakeClock) -> None:
    make_family(database, 1, clock=clock, is_finished=False)
    clock.advance(60)
    assert _plan(database, clock, age=dt.timedelta(seconds=10)).runs == ()
    clock.advance(3_600)  # nobody has been heard of since: it was killed
    assert len(_plan(database, clock, age=dt.timedelta(seconds=10)).runs) == 1


def test_a_row_that_a_younger_run_adopted_is_spared(
    database: Database, old: Family, clock: FakeClock
) -> None:
    young = make_family(database, 1, run=YOUNG, clock=clock)
    adopted = f"{young.key}:{old.row_id(2)}"
    young.token(adopted, node_id="source", index=None, order=b"\x00", salt_id=old.row_id(2))
    young.parent(adopted, old.row_id(2), 0, "adopted", "source")
    young.store()
    _purge_and_expect_spared(database, clock, old.row_id(2))


def test_an_answer_that_a_younger_run_took_over_is_spared(
    database: Database, old: Family, clock: FakeClock
) -> None:
    young = make_family(database, 1, run=YOUNG, clock=clock)
    unit = Unit()
    answered = _call(unit, old, "out", 3, reused_from=None)
    _call(unit, young, "out", 0, reused_from=answered)
    with database.write() as connection:
        store(connection, unit)
    _purge_and_expect_spared(database, clock, old.row_id(3))


def _call(unit: Unit, family: Family, node_id: str, index: int, *, reused_from: str | None) -> str:
    handle = family.handles[node_id]
    state = done_state(handle, index)
    call = open_call(handle, state, 0)
    unit.insert("node_states", state)
    unit.insert("calls", closed("calls", call, reused_from=reused_from, status="answered"))
    return str(call[0])


def _purge_and_expect_spared(database: Database, clock: FakeClock, salt_id: str) -> None:
    plan = _plan(database, clock)
    assert plan.spared == {salt_id}
    assert plan.runs[0].bodies_spared > 0
    purge(database, plan, now=clock.now())
    with database.read() as connection:
        left = connection.execute(
            sa.select(schema.row_salts.c.salt_id).where(schema.row_salts.c.run_id == RUN_ID)
        ).scalars()
        assert list(left) == [salt_id]
        kept = sa.select(sa.func.count()).select_from(schema.payloads)
        of_row = kept.where(schema.payloads.c.salt_id == salt_id)
        assert connection.execute(of_row).scalar_one() == plan.runs[0].bodies_spared
    assert _plan(database, clock).runs == ()


def test_a_purge_that_was_broken_off_is_finished_by_the_next(
    database: Database, old: Family, clock: FakeClock
) -> None:
    with database.write() as connection:  # as one committed page leaves it
        gone = old.row_id(0)
        connection.execute(sa.delete(schema.payloads).where(schema.payloads.c.salt_id == gone))
        connection.execute(sa.delete(schema.row_salts).where(schema.row_salts.c.salt_id == gone))
    purge(database, _plan(database, clock), now=clock.now())
    assert count_of(database, "payloads") == count_of(database, "row_salts") == 0


def test_a_run_that_was_gone_on_with_since_it_was_planned_is_left_alone(
    database: Database, old: Family, clock: FakeClock
) -> None:
    plan = _plan(database, clock)
    count = count_of(database, "payloads")
    begun(database, clock=clock, run=replace(FAMILY_RUN, dagster_run_id="the resume"), node_id="source")

    assert purge(database, plan, now=clock.now()) == ()

    assert (count_of(database, "payloads"), count_of(database, "purges")) == (count, 0)


def test_what_a_younger_run_adopted_since_it_was_planned_is_spared(
    database: Database, old: Family, clock: FakeClock
) -> None:
    plan = _plan(database, clock)
    young = make_family(database, 1, run=YOUNG, clock=clock)
    adopted = f"{young.key}:{old.row_id(2)}"
    young.token(adopted, node_id="source", index=None, order=b"\x00", salt_id=old.row_id(2))
    young.store()

    purge(database, plan, now=clock.now())

    with database.read() as connection:
        left = connection.execute(
            sa.select(schema.row_salts.c.salt_id).where(schema.row_salts.c.run_id == RUN_ID)
        ).scalars()
        assert list(left) == [old.row_id(2)]


def test_a_purged_run_does_not_begin_again_whoever_resumes_it(
    database: Database, old: Family, clock: FakeClock
) -> None:
    purge(database, _plan(database, clock), now=clock.now())

    with pytest.raises(LaunchError, match=f"Run {old.key} cannot go on: its rows were purged on"):
        begun(database, clock=clock, run=replace(FAMILY_RUN, dagster_run_id="the resume"), node_id="source")


def test_what_was_erased_is_in_no_file_any_more(tmp_path: Path, clock: FakeClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'landscape.db'}")
    database.ensure_schema()
    family = make_family(database, 1, clock=clock)
    family.body(family.row_id(0), {"secret": "a very private sentence " * 100})
    family.store()
    forget_deleted(database)
    assert _holds(tmp_path, b"a very private sentence")
    clock.advance(200 * DAY.total_seconds())
    purge(database, _plan(database, clock), now=clock.now())
    forget_deleted(database)
    assert not _holds(tmp_path, b"a very private sentence")
    database.dispose()


def _holds(folder: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in folder.iterdir())


def test_vacuum_gives_the_space_back(database: Database, old: Family, clock: FakeClock) -> None:
    for number in range(20):
        old.body(old.row_id(0), {"number": number, "text": "x" * 50_000})
    old.store()
    forget_deleted(database)
    before = size_of(database)
    purge(database, _plan(database, clock), now=clock.now())
    vacuum(database)
    after = size_of(database)
    if before is None or after is None:  # a server's files are its own
        assert database.dialect == "postgresql"
    else:
        assert after < before - 500_000
