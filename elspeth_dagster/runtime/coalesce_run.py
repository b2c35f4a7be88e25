"""Run a join: for each forked row, decide what its branches become, merge, and record why.

All that one decision leaves behind is in one unit, so a join that was killed goes on with the next row; and it decides
the same again, because only what the branches recorded counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.fates import WAITING, Fate, Region, fates
from elspeth_dagster.landscape.forked import arrivals, undecided
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.nodes.base import listed
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.joining import Arrived, decide
from elspeth_dagster.pipeline.graph import Pipeline, Port, port_of
from elspeth_dagster.runtime.join_groups import Group, Grouping
from elspeth_dagster.runtime.join_records import DecisionRecorder, Join
from elspeth_dagster.runtime.join_tally import JoinTally
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work


def run_coalesce(work: Work, config: CoalesceConfig) -> None:
    """Decide about every forked row, in order.

    Raises:
        NodeStoppedError: a branch has not ended, too many merges failed, or the run is to end; what was decided is
            recorded.
    """
    tally = work.tally.joins = JoinTally(config.policy, config.merge)
    node_id, pipeline = work.node.node_id, work.pipeline
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    join = Join(config, fork_id=pipeline.forks[node_id], join_index=_join_index(pipeline, node_id))
    branch_of = {
        (port.node_id, port.name): branch
        for branch, ports in config.from_.items()
        for port in map(port_of, listed(ports))
    }
    grouping = Grouping(work.tokens(), branch_of, join_id=node_id)
    region = _region(pipeline, node_id)
    for page in undecided(
        work.database,
        run_id=work.handle.run_id,
        fork_id=join.fork_id,
        join_id=node_id,
        page_tokens=max(1, PAGE_TOKENS // (1 + len(branch_of))),
        is_first=work.handle.attempt == 1,
    ):
        work.check_stop()
        unit = Unit()
        try:
            groups = [grouping.group(forked) for forked in page]
            _decide(work, unit, join, groups, region)
        finally:
            work.submit(unit)
        work.judge(config.max_error_rate, tally.failed, tally.failed + tally.merged)
    grouping.finish()
    work.flush()


def _decide(work: Work, unit: Unit, join: Join, groups: Sequence[Group], region: Region) -> None:
    token_ids = [token.token_id for group in groups for token in group.tokens.values()]
    arrival_ms = arrivals(work.database, token_ids, fork_id=join.fork_id)
    lost = _lost(work, join, groups, region)
    recorder = DecisionRecorder(work, unit, join, work.attempts(token_ids))
    for group in groups:
        arrived = [
            Arrived(branch, token.token_id, arrival_ms[token.token_id], row_of(token))
            for branch, token in group.tokens.items()
        ]
        missing = {branch: fate.as_json() for branch, fate in lost[group.forked.token_id].items()}
        recorder.record(group, decide(join.config, arrived, missing), missing)


def _lost(
    work: Work, join: Join, groups: Sequence[Group], region: Region
) -> Mapping[str, Mapping[str, Fate]]:
    """Of each forked token, the branches that are not here and why; all of them have ended.

    Raises:
        NodeStoppedError: one of them may still come.
    """
    missing = {
        ids.branch_token_id(group.forked.token_id, branch): (group.forked.token_id, branch)
        for group in groups
        for branch in join.config.branches()
        if branch not in group.tokens
    }
    lost: dict[str, dict[str, Fate]] = {group.forked.token_id: {} for group in groups}
    found = fates(work.database, list(missing), region=region)
    for token_id, (forked_id, branch) in missing.items():
        fate = found.get(token_id)
        if fate is None or fate.why == WAITING:
            raise _not_ended(work.node.node_id, token_id, branch, fate)
        lost[forked_id][branch] = fate
    return lost


def _not_ended(join_id: str, token_id: str, branch: str, fate: Fate | None) -> NodeStoppedError:
    if fate is None:
        return NodeStoppedError(
            f"Branch {branch!r} has no trace: token {token_id} was not found.",
            code="branch_vanished",
            where=f"step {join_id!r}",
            hint="run `elspeth-dagster verify`: records that were there are gone",
        )
    return NodeStoppedError(
        f"Branch {branch!r} has not ended: token {token_id} still waits for {fate.node_id!r}.",
        code="branch_not_ended",
        where=f"step {join_id!r}",
        hint="run the steps of its branches to their end, or resume the run: then it can decide",
    )


def _region(pipeline: Pipeline, node_id: str) -> Region:
    places = pipeline.leading_to(node_id)
    joins: dict[str, list[str]] = {}
    for join_id, fork_id in pipeline.forks.items():
        if join_id in places:
            joins.setdefault(fork_id, []).append(join_id)

    def taker(feeder: str, port: str) -> str | None:
        takers = pipeline.takers(Port(feeder, port))
        return takers[0] if takers and takers[0] != node_id else None

    return Region(places, taker, joins)


def _join_index(pipeline: Pipeline, node_id: str) -> int:
    """The join's place among the pipeline's joins."""
    joins = [node.node_id for node in pipeline.nodes.values() if isinstance(node.config, CoalesceConfig)]
    return joins.index(node_id)
