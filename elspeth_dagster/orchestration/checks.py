"""Asset checks: what Dagster's users look at to see whether a node can be trusted.

The balance is of every asset; the others are of a node, and stand on its first asset: events stay few, however many
ports it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from elspeth_dagster.nodes.asking import pool_of
from elspeth_dagster.pipeline import Node
from elspeth_dagster.pipeline.spec import Checks, ErrorRate

if TYPE_CHECKING:
    from elspeth_dagster.runtime.node_report import NodeReport

LOST_SHOWN_MAX: Final = 20
FINDINGS_SHOWN_MAX: Final = 20
BALANCED_PORTS_MAX: Final = 4
"""Of a node with more ports, the first asset's balance speaks for all of them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    passed: bool
    description: str
    metadata: dict[str, Any]
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    description: str
    judge: Callable[[NodeReport, Checks], Verdict]
    applies: Callable[[Node], bool] = lambda _: True


def check_specs(node: Node, keys: list[dg.AssetKey], options: Checks) -> list[dg.AssetCheckSpec]:
    """The checks of a node's assets."""
    return [
        dg.AssetCheckSpec(
            name=check.name, asset=key, description=check.description, blocking=check.name in options.blocking
        )
        for index, key in enumerate(keys)
        for check in _checks_of(node, index, len(keys))
    ]


def check_results(
    node: Node, keys: list[dg.AssetKey], key: dg.AssetKey, report: NodeReport, options: Checks
) -> list[dg.AssetCheckResult]:
    """What the checks of one of them found."""
    found = []
    for check in _checks_of(node, keys.index(key), len(keys)):
        verdict = check.judge(report, options)
        found.append(
            dg.AssetCheckResult(
                asset_key=key,
                check_name=check.name,
                passed=verdict.passed,
                severity=verdict.severity,
                description=verdict.description,
                metadata=verdict.metadata,
            )
        )
    return found


def _checks_of(node: Node, index: int, ports: int) -> list[_Check]:
    if index == 0:
        return [check for check in _CHECKS if check.applies(node)]
    return [_CHECKS[0]] if ports <= BALANCED_PORTS_MAX else []


def _balance(report: NodeReport, _: Checks) -> Verdict:
    """The balance as the Landscape has it after the node's work: nothing waits for a node that is done."""
    balance = report.balance
    return Verdict(
        balance.holds and balance.waiting == 0,
        f"{balance.arrived} arrived = {balance.completed} completed + {balance.failed} failed "
        f"+ {balance.waiting} waiting",
        {
            "arrived": balance.arrived,
            "completed": balance.completed,
            "failed": balance.failed,
            "waiting": balance.waiting,
            "by_port": dg.MetadataValue.json(dict(sorted(balance.by_port.items()))),
        },
    )


def _order(report: NodeReport, _: Checks) -> Verdict:
    lost = [row.token_id for row in report.lost]
    said = f"{len(lost)} rows are missing from the order" if lost else "No row is missing from the order"
    shown = dg.MetadataValue.json(lost[:LOST_SHOWN_MAX])
    return Verdict(not lost, said, {"lost_rows": len(lost), "lost": shown})


def _error_rate(report: NodeReport, options: Checks) -> Verdict:
    """Of all rows that are done with, in this execution and the ones before it."""
    failed, done = report.balance.failed, report.balance.completed + report.balance.failed
    rate = failed / done if done else 0.0
    limits: ErrorRate = options.error_rate
    worst = report.tally.failures.most_common(1)
    said = f"{failed} of {done} rows failed ({rate:.1%})" + (f", most with {worst[0][0]}" if worst else "")
    severity = dg.AssetCheckSeverity.ERROR if rate > limits.fail else dg.AssetCheckSeverity.WARN
    metadata = {"error_rate": rate, "warn_above": limits.warn, "fail_above": limits.fail}
    return Verdict(rate <= min(limits.warn, limits.fail), said, metadata, severity)


def _seal(report: NodeReport, _: Checks) -> Verdict:
    holds = report.proofs.is_sealed_as_found
    said = "What was sealed is what is there"
    if holds is None:
        said = "The seal is in its chain; what is below it is too much to be read again here: `verify` does"
    elif not holds:
        said = "The evidence is not what was sealed: run `verify`"
    return Verdict(
        holds is not False, said, {"seal": report.seal.seal_hash.hex(), "sequence": report.seal.sequence}
    )


def _reconciliation(report: NodeReport, _: Checks) -> Verdict:
    proof = report.proofs.sink
    if proof is None:
        return Verdict(passed=True, description="No file was written", metadata={})
    file = "the file is as it was hashed" if proof.is_file_whole else "the file is not what was written"
    said = f"{proof.arrived} rows arrived, {proof.written} are in the file, {proof.ended} ended here; {file}"
    return Verdict(
        proof.holds, said, {"arrived": proof.arrived, "written": proof.written, "ended": proof.ended}
    )


def _invariants(report: NodeReport, _: Checks) -> Verdict:
    """Of the whole run, once it is finished: so the sink that ends last shows them."""
    whole = report.proofs.whole
    if whole is None:
        said = "The run goes on: the sink that ends last shows the whole run's invariants"
        return Verdict(passed=True, description=said, metadata={"is_last": False})
    found = [(check.name, finding) for check in whole.checks for finding in check.findings]
    metadata: dict[str, Any] = {
        "is_last": True,
        "invariants": len(whole.checks),
        "findings": len(found),
    }
    if found:
        metadata["first_findings"] = dg.MetadataValue.table(
            [
                dg.TableRecord({"invariant": name, "table": one.table, "key": one.key, "what": one.what})
                for name, one in found[:FINDINGS_SHOWN_MAX]
            ]
        )
    said = (
        f"{len(found)} findings: run `verify`"
        if found
        else f"All {len(whole.checks)} invariants of the run hold"
    )
    return Verdict(not found, said, metadata)


_CHECKS: Final = (
    _Check(
        "balance",
        "Every row that came to this node was completed, failed, or waits: none was lost or doubled.",
        _balance,
    ),
    _Check(
        "order",
        "The pool's submit indices have no gap: every row that it took came back. Lost rows are named.",
        _order,
        lambda node: pool_of(node.config) is not None,
    ),
    _Check(
        "error_rate",
        "The share of failed rows. Above the first threshold it warns, above the second it fails.",
        _error_rate,
        lambda node: node.role != "sink",
    ),
    _Check("seal", "The seal over this node's evidence, made again from the records, is the same.", _seal),
    _Check(
        "reconciliation",
        "Every row that arrived is in the file and has its outcome, and the file is the one that was recorded.",
        _reconciliation,
        lambda node: node.role == "sink",
    ),
    _Check(
        "invariants",
        "The whole run, when its last sink is done: ends, forks, joins, batches, calls, pools and seals are as they "
        "must be. `elspeth-dagster verify` reads every record and body as well.",
        _invariants,
        lambda node: node.role == "sink",
    ),
)
