"""What Dagster's event log says about a run, as plain values: the other store that a run's seals are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth_dagster.model.outcome import RunStatus


@dataclass(frozen=True, slots=True)
class WitnessedSeal:
    """A seal as a step reported it when its execution ended. ``seal_hash`` is hexadecimal."""

    dagster_run_id: str
    node_id: str
    seal_hash: str


@dataclass(frozen=True, slots=True)
class Witness:
    """The seals in Dagster's log, oldest first, and its runs that worked on the Landscape's run.

    ``ends``: how each of them ended; None while it is under way. ``succeeded``: the steps that Dagster saw succeed, as
    Dagster run and node.
    """

    seals: tuple[WitnessedSeal, ...]
    ends: Mapping[str, RunStatus | None]
    succeeded: frozenset[tuple[str, str]]
