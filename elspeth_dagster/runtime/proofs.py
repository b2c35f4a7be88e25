"""Look again, after a node is done: is what was sealed there, is the file what was recorded, is the run whole?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from elspeth_dagster.files import Artifact
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.outcomes import count_outcomes_at
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.seals import Seal, seal_holds
from elspeth_dagster.landscape.statistics import refresh_statistics
from elspeth_dagster.landscape.status import finished_status
from elspeth_dagster.landscape.verify import COUNTING, VerifyReport, verify_run
from elspeth_dagster.nodes.sink import SinkConfig
from elspeth_dagster.runtime.sink_run import written_by
from elspeth_dagster.runtime.work import Work

CHECKS_AT_ONCE: Final = 2
"""Invariants that the database looks through the run for side by side."""


@dataclass(frozen=True, slots=True)
class SinkProof:
    """A sink's file against its record. ``ended`` counts the tokens whose journey ended here."""

    arrived: int
    written: int
    ended: int
    is_file_whole: bool

    @property
    def holds(self) -> bool:
        """Whether every row that arrived is in the file, has its outcome, and the file is as it was hashed."""
        return self.is_file_whole and self.arrived == self.written == self.ended


@dataclass(frozen=True, slots=True)
class Proofs:
    """What was looked at again; ``sink`` is None for what wrote no file.

    ``is_sealed_as_found`` is None where that would have meant reading too much again.
    ``whole`` are the invariants of the whole run, looked at when its last sink is done; else None.
    """

    is_sealed_as_found: bool | None
    sink: SinkProof | None
    whole: VerifyReport | None = None


def prove(work: Work, seal: Seal, artifact: Artifact | None, *, arrived: int) -> Proofs:
    """Make the seal's root again, if it is over few enough records, and read the sink's file again."""
    holds = seal_holds(work.database, seal, run_id=work.handle.run_id, node_id=work.node.node_id)
    if artifact is None:
        return Proofs(holds, None)
    return Proofs(
        holds,
        _prove_sink(work, artifact, arrived=arrived),
        _prove_run(work.database, work.handle.run_id, now=work.clock.now()),
    )


@patient
def _prove_run(database: Database, run_id: str, *, now: dt.datetime) -> VerifyReport | None:
    """The invariants that can be counted, once every node of the run has ended: whichever sink was the last."""
    if finished_status(database, run_id) is None:
        return None
    refresh_statistics(database, run_id)
    return verify_run(database, find_run(database, run_id), now=now, checks=COUNTING, at_once=CHECKS_AT_ONCE)


def _prove_sink(work: Work, artifact: Artifact, *, arrived: int) -> SinkProof:
    config = work.node.config
    assert isinstance(config, SinkConfig)  # noqa: S101 - only sinks make artifacts
    return SinkProof(
        arrived=arrived,
        written=artifact.row_count,
        ended=count_outcomes_at(work.database, work.handle.run_id, work.node.node_id),
        is_file_whole=config.written_now(artifact, written_by(work)) == artifact.sha256,
    )
