"""A pipeline among other assets: a table of a warehouse feeds it, and its sink feeds a report.

dagster asset materialize --select '*' -f definitions.py
"""

from pathlib import Path

import dagster as dg
import pandas as pd

from elspeth_dagster import LandscapeIOManager, LandscapeResource, build_definitions, load_pipeline

HERE = Path(__file__).parent
LANDSCAPE = f"sqlite:///{HERE / '.elspeth' / 'landscape.db'}"


@dg.asset(key=["warehouse", "messages"], kinds={"dbt", "table"})
def messages() -> pd.DataFrame:
    """Any asset whose IO manager loads a DataFrame will do: a dbt model in Snowflake, DuckDB or BigQuery."""
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "text": ["Somebody paid with my card. Fraud!", "Thank you", "My card is lost", None],
            "amount": [640.0, None, 12.5, 3.0],
        }
    )


@dg.asset(
    ins={"urgent": dg.AssetIn(key=["triage", "urgent"], input_manager_key="landscape_io")},
    deps=[["triage", "normal"]],
)
def report(context: dg.AssetExecutionContext, urgent: pd.DataFrame) -> None:
    """What the sink `urgent` wrote, as the audit database has it: the types of its columns are kept."""
    lines = [f"{len(urgent)} urgent of {urgent['amount'].sum():.2f}"]
    lines += [f"{row.id}: {row.text}" for row in urgent.itertuples()]
    (HERE / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    context.add_output_metadata({"urgent": len(urgent)})


defs = dg.Definitions.merge(
    build_definitions(load_pipeline(HERE / "triage.yaml"), landscape=LandscapeResource(url=LANDSCAPE)),
    dg.Definitions(assets=[messages, report], resources={"landscape_io": LandscapeIOManager(url=LANDSCAPE)}),
)
