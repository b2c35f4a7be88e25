"""Asset checks: what Dagster's users look at to see whether a node can be trusted."""

import dagster as dg

from elspeth_dagster.runtime.node_run import NodeReport

BALANCE = "balance"
ORDER = "order"
LOST_SHOWN_MAX = 20


def balance_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Every asset of a node has its node's balance."""
    return dg.AssetCheckSpec(
        name=BALANCE,
        asset=key,
        description="Every row that came to this node was completed, failed, or waits: none was lost or doubled.",
    )


def order_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """A pooled node's order can be proved from what it recorded."""
    return dg.AssetCheckSpec(
        name=ORDER,
        asset=key,
        description="The pool's submit indices have no gap: every row that it took came back. Lost rows are named.",
    )


def order_check(key: dg.AssetKey, report: NodeReport) -> dg.AssetCheckResult:
    """The order as the Landscape has it after the node's work."""
    lost = [row.token_id for row in report.lost]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=ORDER,
        passed=not lost,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"lost_rows": len(lost), "lost": dg.MetadataValue.json(lost[:LOST_SHOWN_MAX])},
        description=f"{len(lost)} rows are missing from the order"
        if lost
        else "No row is missing from the order",
    )


def balance_check(key: dg.AssetKey, report: NodeReport) -> dg.AssetCheckResult:
    """The balance as the Landscape has it after the node's work: nothing waits for a node that is done."""
    balance = report.balance
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=BALANCE,
        passed=balance.holds and balance.waiting == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "arrived": balance.arrived,
            "completed": balance.completed,
            "failed": balance.failed,
            "waiting": balance.waiting,
            "by_port": dg.MetadataValue.json(dict(sorted(balance.by_port.items()))),
        },
        description=f"{balance.arrived} arrived = {balance.completed} completed + {balance.failed} failed "
        f"+ {balance.waiting} waiting",
    )
