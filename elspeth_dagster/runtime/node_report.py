"""What one execution of a node did, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth_dagster.files import Artifact
from elspeth_dagster.landscape.balance import NodeBalance, node_balance, source_balance
from elspeth_dagster.landscape.batch_reads import TriggerSummary, trigger_summaries
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.ordering import LostRow, lost_rows
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.seals import Seal
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.runtime.proofs import Proofs, prove
from elspeth_dagster.runtime.tally import Tally
from elspeth_dagster.runtime.work import ReadFrom, Work


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one execution of a node did, for whoever shows it."""

    handle: ExecutionHandle
    tally: Tally
    seconds: float
    pool_stats: Mapping[str, JSON] | None
    balance: NodeBalance
    lost: tuple[LostRow, ...]
    artifact: Artifact | None
    read_from: ReadFrom | None
    seal: Seal
    proofs: Proofs
    batches: tuple[TriggerSummary, ...] = ()


def report_of(
    work: Work, seal: Seal, artifact: Artifact | None, *, balance: NodeBalance, seconds: float
) -> NodeReport:
    """The report of an execution that was completed and sealed."""
    return NodeReport(
        handle=work.handle,
        tally=work.tally,
        seconds=seconds,
        pool_stats=work.pool_stats,
        balance=balance,
        lost=_lost(work),
        artifact=artifact,
        read_from=work.read_from,
        batches=_batches(work),
        seal=seal,
        proofs=prove(work, seal, artifact, arrived=balance.arrived),
    )


def balance_of(work: Work) -> NodeBalance:
    """What came to the node, over all its executions, and where it is now."""
    run_id, node_id = work.handle.run_id, work.node.node_id
    if work.node.role == "source":
        return source_balance(work.database, run_id=run_id, node_id=node_id)
    return node_balance(work.database, run_id=run_id, node_id=node_id, feeds=work.feeds())


def _lost(work: Work) -> tuple[LostRow, ...]:
    """The rows that the pool's own order shows to be missing; none where there is no pool."""
    if work.pool_stats is None:
        return ()
    handle = work.handle
    return tuple(
        lost_rows(
            work.database,
            run_id=handle.run_id,
            node_id=handle.node_id,
            execution_id=handle.execution_id,
            feeds=work.feeds(),
        )
    )


def _batches(work: Work) -> tuple[TriggerSummary, ...]:
    """Of all executions of the node together: a resumed one fires the rest."""
    if not isinstance(work.node.config, AggregateConfig):
        return ()
    summaries = _triggers(work.database, work.handle.run_id)
    return tuple(one for one in summaries if one.node_id == work.node.node_id)


@patient
def _triggers(database: Database, run_id: str) -> tuple[TriggerSummary, ...]:
    with database.read() as connection:
        return trigger_summaries(connection, run_id)
