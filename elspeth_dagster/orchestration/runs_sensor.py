"""The sensor that tends to runs, on in every code location: what it does is `tending`'s."""

from typing import Final

import dagster as dg

from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.orchestration.resources import LandscapeResource

INTERVAL_S: Final = 30


@dg.sensor(
    name="elspeth_runs",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes runs in the Landscape when Dagster's have ended; reports runs as failed whose heartbeat "
    "stopped for 90 s, and frees what they held.",
)
def runs_sensor(context: dg.SensorEvaluationContext, landscape: LandscapeResource) -> dg.SkipReason:
    """Tend to every run of this Landscape that is open. Never launches anything by itself."""
    from elspeth_dagster.orchestration.tending import tend  # noqa: PLC0415 - a location loads without the database

    with landscape.database() as database:
        done = tend(context.instance, database, clock=SystemClock())
    return dg.SkipReason("; ".join(done) or "Nothing to tend to.")
