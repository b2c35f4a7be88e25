"""A node's report as Dagster metadata: plain numbers so that they plot, tables where a person compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.model.row import JSON
from elspeth_dagster.pipeline import Node
from elspeth_dagster.tables.uri import parsed_uri

if TYPE_CHECKING:
    from elspeth_dagster.landscape.batch_reads import TriggerSummary
    from elspeth_dagster.landscape.seals import Seal
    from elspeth_dagster.runtime.node_report import NodeReport

TOP_FAILURES_MAX = 10
RUN_KEY = "elspeth/run_id"
SEAL_KEY = "elspeth/seal"

_PLOTTED_STATS = ("capacity_retries", "max_concurrent_reached", "peak_delay_ms", "total_throttle_time_ms")
_PLOTTED_METRICS = ("rows_per_second", "latency_p50_ms", "latency_p95_ms", "buffer_wait_p95_ms")


def materialization_metadata(report: NodeReport, *, port: str | None, story: str) -> dict[str, Any]:
    """The metadata of one asset of a node, in the order in which a page shows it.

    ``port`` names the asset where the node has several; ``story`` is Markdown.
    """
    tally = report.tally
    metadata: dict[str, Any] = {
        "elspeth/story": dg.MetadataValue.md(story),
        **_joins(report),
        **_batches(report.batches),
        **({"elspeth/top_failures": _top_failures(report)} if tally.failures else {}),
        "dagster/row_count": _row_count(report, port),
        "elspeth/rows_in": tally.rows_in,
        "elspeth/rows_out": tally.rows_out,
        "elspeth/rows_failed": tally.rows_failed,
        "elspeth/rows_reused": tally.rows_reused,
    }
    if tally.rows_in:
        metadata["elspeth/error_rate"] = round(tally.rows_failed / tally.rows_in, 6)
    metrics = tally.metrics(seconds=report.seconds)
    metadata |= {f"elspeth/{name}": metrics[name] for name in _PLOTTED_METRICS if metrics[name] is not None}
    metadata |= _usage(report)
    metadata |= _pool(report.pool_stats)
    if report.artifact is not None and (table := parsed_uri(report.artifact.uri)) is not None:
        metadata["dagster/table_name"] = table.table_name
    uri = _uri(report)
    if uri is not None:
        metadata["dagster/uri"] = dg.MetadataValue.text(uri) if "://" in uri else dg.MetadataValue.path(uri)
    key = report.handle.run_key
    metadata["elspeth/explain"] = dg.MetadataValue.text(f"elspeth-dagster explain {key} --row 0")
    return metadata | seal_metadata(report.handle.run_id, [report.seal])


def data_version(node: Node, report: NodeReport) -> dg.DataVersion | None:
    """What tells one materialization's data from another's; None where Dagster knows it from what went in.

    A file's is its content, a table's that of its rows. What a model or a person's function decides may be different
    each time.
    """
    if report.artifact is not None:
        return dg.DataVersion(report.artifact.sha256.hex())
    if report.read_from is not None and report.read_from.path is not None:
        with report.read_from.path.open("rb") as file:
            return dg.DataVersion(hashlib.file_digest(file, "sha256").hexdigest())
    if report.read_from is not None and report.read_from.uri is not None:
        return dg.DataVersion(report.read_from.sha256.hex())
    if node.config.determinism_of() == "deterministic":
        return None
    return dg.DataVersion(report.handle.execution_id)


def seal_metadata(run_id: str, seals: Sequence[Seal]) -> dict[str, str]:
    """What makes Dagster's event log a witness: the seal of the execution that ended, and whose run it is of."""
    told = {RUN_KEY: run_id}
    if seals:
        told[SEAL_KEY] = seals[-1].seal_hash.hex()
    return told


def _row_count(report: NodeReport, port: str | None) -> int:
    balance = report.balance
    if port is not None:
        return balance.by_port.get(port, 0)
    if report.artifact is not None:
        return report.artifact.row_count
    return balance.by_port.get(OUT_PORT, 0)


def _pool(stats: Mapping[str, JSON] | None) -> dict[str, Any]:
    if stats is None:
        return {}
    numbers = stats["pool_stats"]
    assert isinstance(numbers, dict)  # noqa: S101 - the pool's own form
    plotted = {f"elspeth/{name}": numbers[name] for name in _PLOTTED_STATS}
    return {
        "elspeth/pool_config": dg.MetadataValue.json(json.loads(json.dumps(stats["pool_config"]))),
        "elspeth/pool_stats": dg.MetadataValue.json(json.loads(json.dumps(numbers))),
        **plotted,
    }


def _usage(report: NodeReport) -> dict[str, Any]:
    usage = report.tally.usage()
    if usage is None:
        return {}
    numbers = {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "cost_usd")}
    return {f"elspeth/{name}": value for name, value in numbers.items() if value is not None}


def _batches(counted: Sequence[TriggerSummary]) -> dict[str, Any]:
    if not counted:
        return {}
    records = [
        dg.TableRecord(
            {
                "trigger": one.trigger.value,
                "batches": one.batches,
                "failed": one.failed,
                "rows in": one.members,
                "smallest": one.members_min,
                "largest": one.members_max,
                "rows out": one.outputs,
            }
        )
        for one in counted
    ]
    return {
        "elspeth/batches": dg.MetadataValue.table(records),
        "elspeth/batches_fired": sum(one.batches for one in counted),
        "elspeth/batches_failed": sum(one.failed for one in counted),
        "elspeth/batch_size_max": max(one.members_max for one in counted),
    }


def _joins(report: NodeReport) -> dict[str, Any]:
    joins = report.tally.joins
    if joins is None:
        return {}
    metadata: dict[str, Any] = {
        "elspeth/policy": joins.policy,
        "elspeth/merge_strategy": joins.merge_strategy,
        "elspeth/rows_late": report.tally.rows_late,
        "elspeth/merges_failed": joins.failed,
        "elspeth/branches_lost": dg.MetadataValue.json(joins.losses()) if joins.lost else "none",
    }
    if joins.orders:
        records = [
            dg.TableRecord(
                {
                    "order": row["order"],
                    "count": row["count"],
                    "median offset (ms)": row["median_offset_ms"],
                }
            )
            for row in joins.table()
        ]
        metadata["elspeth/arrival_order"] = dg.MetadataValue.table(records)
    waits = joins.waits()
    return metadata | {f"elspeth/{name}": value for name, value in waits.items() if value is not None}


def _top_failures(report: NodeReport) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {"code": code, "rows": count, "for example": ", ".join(report.tally.examples.get(code, []))}
        )
        for code, count in report.tally.failures.most_common(TOP_FAILURES_MAX)
    ]
    return dg.MetadataValue.table(records)


def _uri(report: NodeReport) -> str | None:
    if report.artifact is not None:
        return report.artifact.uri if report.artifact.path is None else str(report.artifact.path)
    return None if report.read_from is None else report.read_from.uri
