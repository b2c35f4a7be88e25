"""A pool limit that several processes share: never passed, fairly divided, and freed when a member dies."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import pool_members
from elspeth_dagster.landscape.sharing import MEMBER_STALE_S, SharedPool, leave, refresh_share
from tests.landscape.material import FakeClock

POOL = SharedPool("provider|model", 10)


@dataclass
class Member:
    """A process that keeps to what it is told: it sends nothing that would put more in flight than it is allowed."""

    name: str
    database: Database
    clock: FakeClock
    allowed: int = 0
    in_flight: int = field(default=0)

    def beat(self) -> None:
        with self.database.write() as connection:
            self.allowed = refresh_share(
                connection,
                POOL,
                member_id=self.name,
                in_use=max(self.in_flight, self.allowed),
                clock=self.clock,
            )

    def send(self, count: int) -> None:
        self.in_flight += max(0, min(count, self.allowed - self.in_flight))

    def answer(self, count: int) -> None:
        self.in_flight -= min(count, self.in_flight)

    def leave(self) -> None:
        self.in_flight = self.allowed = 0
        leave(self.database, POOL, member_id=self.name)


def _members(database: Database, clock: FakeClock, count: int) -> list[Member]:
    return [Member(f"member-{number}", database, clock) for number in range(count)]


def test_one_member_has_the_whole_limit(database: Database, clock: FakeClock) -> None:
    (only,) = _members(database, clock, 1)
    only.beat()
    assert only.allowed == 0  # not durable yet
    only.beat()
    assert only.allowed == 10


def test_members_settle_to_equal_parts_within_a_few_heartbeats(database: Database, clock: FakeClock) -> None:
    members = _members(database, clock, 4)
    for _ in range(6):
        for member in members:
            member.beat()
            member.send(99)
            member.answer(99)
    assert sorted(member.allowed for member in members) == [2, 2, 3, 3]


def test_a_newcomer_waits_until_others_have_given_back(database: Database, clock: FakeClock) -> None:
    first, second = _members(database, clock, 2)
    first.beat()
    first.beat()
    first.send(10)
    for _ in range(3):
        second.beat()
        first.beat()
        assert second.allowed == 0
    first.answer(6)
    first.beat()
    second.beat()
    second.beat()
    assert (first.allowed, second.allowed) == (5, 5)


def test_the_share_of_a_member_that_died_is_free_when_it_was_silent_long_enough(
    database: Database, clock: FakeClock
) -> None:
    dead, alive = _members(database, clock, 2)
    dead.beat()
    clock.advance(MEMBER_STALE_S - 1)
    alive.beat()
    assert alive.allowed == 0
    clock.advance(2)
    alive.beat()
    alive.beat()
    assert alive.allowed == 10


def test_who_leaves_gives_everything_back(database: Database, clock: FakeClock) -> None:
    first, second = _members(database, clock, 2)
    first.beat()
    first.leave()
    second.beat()
    second.beat()
    assert second.allowed == 10
    with database.read() as connection:
        assert [row.member_id for row in connection.execute(pool_members.select())] == ["member-1"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["beat", "send", "answer", "leave"]), st.integers(0, 10)
        ),
        max_size=60,
    )
)
def test_however_they_come_and_go_the_limit_is_never_passed(
    database: Database, clock: FakeClock, steps: list[tuple[int, str, int]]
) -> None:
    members = _members(database, clock, 4)
    for number, act, count in steps:
        member = members[number]
        if act == "beat":
            member.beat()
        elif act == "leave":
            member.leave()
        else:
            getattr(member, act)(count)
        assert sum(max(one.in_flight, one.allowed) for one in members) <= POOL.limit
    for member in members:
        member.leave()
