"""Read what Dagster's event log says about a Landscape run: its seals, and how its Dagster runs ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRun, EventLogRecord, RunsFilter

from elspeth_dagster.landscape.witness import Witness, WitnessedSeal
from elspeth_dagster.orchestration.lineage import end_of
from elspeth_dagster.orchestration.metadata import RUN_KEY, SEAL_KEY

PAGE: Final = 1_000
RUNS_SEARCHED_MAX: Final = (
    100_000  # for the beginning of an id; beyond it, the whole id finds the run at once
)

_TELLING: Final = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SUCCESS,
}


def witness_of(
    instance: DagsterInstance, run_id: str, *, pipeline: str, dagster_run_ids: Iterable[str]
) -> Witness:
    """What this instance knows of the Landscape run ``run_id``, whose known attempts are ``dagster_run_ids``."""
    ids = dict.fromkeys([*dagster_run_ids, *_continuing(instance, run_id.partition("/")[0])])
    runs = [run for run in map(instance.get_run_by_id, ids) if run is not None]
    seals: dict[tuple[str, str, str], WitnessedSeal] = {}
    succeeded: set[tuple[str, str]] = set()
    for run in runs:
        for record in _records(instance, run.run_id):
            event = record.event_log_entry.get_dagster_event()
            node_id = (event.step_key or "").removeprefix(f"{pipeline}__")
            if event.event_type is DagsterEventType.STEP_SUCCESS:
                succeeded.add((run.run_id, node_id))
            metadata = _metadata(event)
            seal_hash = _text(metadata, SEAL_KEY)
            if seal_hash is not None and _text(metadata, RUN_KEY) == run_id:
                said = WitnessedSeal(run.run_id, node_id, seal_hash)
                seals[run.run_id, node_id, seal_hash] = said  # each port's asset carries its node's seal
    return Witness(
        seals=tuple(seals.values()),
        ends={run.run_id: end_of(instance, run.run_id) for run in runs},
        succeeded=frozenset(succeeded),
    )


def sealed_runs(instance: DagsterInstance, text: str) -> dict[str, int]:
    """The Landscape runs whose id begins with ``text``, and how many of their seals are in Dagster's log."""
    seals: dict[str, set[str]] = {}
    for run in _beginning_with(instance, text):
        for record in _records(instance, run.run_id):
            metadata = _metadata(record.event_log_entry.get_dagster_event())
            run_id, seal_hash = _text(metadata, RUN_KEY), _text(metadata, SEAL_KEY)
            if run_id is not None and seal_hash is not None and run_id.startswith(text):
                seals.setdefault(run_id, set()).add(seal_hash)
    return {run_id: len(found) for run_id, found in seals.items()}


def _beginning_with(instance: DagsterInstance, text: str) -> Iterator[DagsterRun]:
    whole = instance.get_run_by_id(text.partition("/")[0])
    if whole is not None:
        yield whole
        return
    cursor, searched = None, 0
    while searched < RUNS_SEARCHED_MAX:
        page = instance.get_runs(cursor=cursor, limit=PAGE)
        yield from (run for run in page if run.run_id.startswith(text))
        if len(page) < PAGE:
            return
        cursor, searched = page[-1].run_id, searched + len(page)


def _continuing(instance: DagsterInstance, root_run_id: str) -> Iterator[str]:
    """The Dagster run that a Landscape run is called after, and every re-execution of it."""
    yield root_run_id
    filters = RunsFilter(tags={"dagster/root_run_id": root_run_id})
    yield from (run.run_id for run in instance.get_runs(filters=filters))


def _records(instance: DagsterInstance, dagster_run_id: str) -> Iterator[EventLogRecord]:
    cursor, has_more = None, True
    while has_more:
        page = instance.get_records_for_run(dagster_run_id, cursor, of_type=_TELLING, limit=PAGE)
        yield from page.records
        cursor, has_more = page.cursor, page.has_more


def _metadata(event: dg.DagsterEvent) -> Mapping[str, Any]:
    if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
        return event.step_materialization_data.materialization.metadata
    if event.event_type is DagsterEventType.ASSET_OBSERVATION:
        return event.asset_observation_data.asset_observation.metadata
    if event.event_type is DagsterEventType.STEP_FAILURE:
        said = event.step_failure_data.user_failure_data
        return {} if said is None else said.metadata
    return {}


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = getattr(metadata.get(key), "value", None)
    return value if isinstance(value, str) else None
