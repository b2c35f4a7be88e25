"""What one decision of a join leaves behind: the event, the merged token, and the end of every token that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.status import LATE_ARRIVAL
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import Outcome, Relation, StateStatus
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.joining import Arrived, Verdict
from elspeth_dagster.nodes.merging import Merged, merge
from elspeth_dagster.runtime.children import MadeToken, end_parent, make_token
from elspeth_dagster.runtime.join_groups import Group
from elspeth_dagster.runtime.join_metadata import Lost, all_lost, decision_metadata
from elspeth_dagster.runtime.recording import (
    PAYLOAD_BYTES_MAX,
    Settled,
    error_json,
    final_state,
    outcome_record,
    payload,
    settle,
    too_large,
)
from elspeth_dagster.runtime.work import Work


@dataclass(frozen=True, slots=True)
class Join:
    """A join and the fork that it closes; ``join_index`` is its place among the pipeline's joins."""

    config: CoalesceConfig
    fork_id: str
    join_index: int


@dataclass(slots=True)
class DecisionRecorder:
    """Adds decisions to ``page``, each whole. ``attempts`` are those that tokens had at the join before."""

    work: Work
    page: Unit
    join: Join
    attempts: Mapping[str, int]
    now: str = field(init=False)
    unit: Unit = field(default_factory=Unit)

    def __post_init__(self) -> None:
        """One time of day for the page: decisions take microseconds."""
        self.now = self.work.now()

    def record(self, group: Group, verdict: Verdict, lost: Lost) -> None:
        """Merge as the verdict says, and record everything about it."""
        self.unit = Unit()
        merged, body, failure = self._merge(group, verdict)
        lost = all_lost(verdict, lost)
        metadata = decision_metadata(self.join.config, verdict, merged, failure, lost)
        metadata_json = canonical_bytes(metadata).decode()
        context_json = f'{{"coalesce":{metadata_json}}}'
        for one in verdict.held:
            if failure is None:
                self._consume(group, one, context_json)
            else:
                self._fail(group, one, failure, context_json)
        for one in verdict.late:
            self._refuse_late(group, one, verdict, context_json)
        merged_id = None if failure is not None else self._make(group, verdict, body)
        self._record_event(group, merged_id, metadata_json)
        self._count(verdict, failure, lost)
        self.page.absorb(self.unit)

    def _merge(self, group: Group, verdict: Verdict) -> tuple[Merged | None, bytes, Rejected | None]:
        """What was merged, the merged row's body, and why there is none."""
        if verdict.failure is not None:
            return None, b"", verdict.failure
        merged = merge(self.join.config, {one.branch: one.row for one in verdict.held}, group.forked.row)
        if isinstance(merged.row, Rejected):
            return merged, b"", merged.row
        body = canonical_bytes(merged.row)
        failure = too_large(len(body), what="merged row") if len(body) > PAYLOAD_BYTES_MAX else None
        return merged, body, failure

    def _consume(self, group: Group, one: Arrived, context_json: str) -> None:
        end_parent(
            self.work,
            self.unit,
            group.tokens[one.branch],
            Outcome.COALESCED,
            attempt=self._attempt(one),
            started_at=self.now,
            now=self.now,
            context_json=context_json,
        )

    def _fail(self, group: Group, one: Arrived, failure: Rejected, context_json: str) -> None:
        """A token that was held: its merge failed."""
        token = group.tokens[one.branch]
        state_id = ids.state_id(token.token_id, self.work.node.node_id, self._attempt(one))
        settled = settle(self.work, self.unit, token=token, state_id=state_id, decision=failure, now=self.now)
        self.work.tally.rows_in += 1
        self._record_state(group, one, settled, context_json)

    def _refuse_late(self, group: Group, one: Arrived, verdict: Verdict, context_json: str) -> None:
        """Part of the policy: it counts as late, not as failed, and no sink of errors takes it."""
        work, token, deciding_ms = self.work, group.tokens[one.branch], verdict.deciding_ms
        late_by_ms = None if deciding_ms is None else round(one.arrival_ms - deciding_ms, 3) or 0
        evidence = Rejected(LATE_ARRIVAL, facts={"branch": one.branch, "late_by_ms": late_by_ms})
        said = error_json(work.redactor, self.unit, token.salt_id, token.salt, evidence)
        settled = Settled(StateStatus.FAILED, None, None, said)
        outcome = outcome_record(work, token, Outcome.FAILED, sink=None, code=LATE_ARRIVAL, now=self.now)
        self.unit.insert("token_outcomes", outcome)
        work.tally.rows_in += 1
        work.tally.rows_late += 1
        work.handle.rows_done += 1
        self._record_state(group, one, settled, context_json)

    def _record_state(self, group: Group, one: Arrived, settled: Settled, context_json: str) -> None:
        token, attempt = group.tokens[one.branch], self._attempt(one)
        state = final_state(
            self.work,
            token,
            ids.state_id(token.token_id, self.work.node.node_id, attempt),
            attempt,
            settled,
            context_json=context_json,
            duration_ms=0.0,
            started_at=self.now,
            completed_at=self.now,
        )
        self.unit.insert("node_states", state)

    def _make(self, group: Group, verdict: Verdict, body: bytes) -> str:
        """The merged token, with those that it was made of as parents in order of arrival."""
        forked = group.forked
        made = MadeToken(
            token_id=ids.merged_token_id(forked.token_id, self.work.node.node_id),
            row_id=forked.row_id,
            order_key=ids.merged_order_key(forked.order_key, self.join.join_index),
            branch=forked.branch,
            salt_id=forked.salt_id,
            row_hash=payload(self.unit, forked.salt_id, forked.salt, body),
        )
        make_token(
            self.work,
            self.unit,
            made,
            parents=[one.token_id for one in verdict.held],
            relation=Relation.JOIN,
            started_at=self.now,
            now=self.now,
            duration_ms=verdict.deciding_ms or 0.0,  # an outer join reads from it how long this branch took
        )
        return made.token_id

    def _record_event(self, group: Group, merged_id: str | None, metadata_json: str) -> None:
        handle, config, forked_id = self.work.handle, self.join.config, group.forked.token_id
        self.unit.insert(
            "coalesce_events",
            sealed(
                "coalesce_events", ids.coalesce_event_id(forked_id, handle.node_id), handle.run_id, handle.node_id,
                forked_id, merged_id, config.policy, config.merge, metadata_json, handle.execution_id,
            ),
        )  # fmt: skip

    def _count(self, verdict: Verdict, failure: Rejected | None, lost: Lost) -> None:
        tally = self.work.tally.joins
        assert tally is not None  # noqa: S101 - made when the join began
        tally.merged += failure is None
        tally.failed += failure is not None and bool(
            verdict.held
        )  # else the rows failed, and counted, before
        if verdict.held:
            wait_ms = round(verdict.held[-1].arrival_ms - verdict.held[0].arrival_ms, 3)
            tally.arrived([one.branch for one in verdict.held], wait_ms)
        for branch, said in lost.items():
            tally.lose(branch, str(said["why"]))

    def _attempt(self, one: Arrived) -> int:
        return self.attempts.get(one.token_id, 0) + 1
