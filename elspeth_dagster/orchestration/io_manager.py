"""Rows of a pipeline's nodes for ordinary assets: an IO manager that only loads."""

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from pydantic import Field

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.model.row import Row
from elspeth_dagster.orchestration.metadata import RUN_KEY
from elspeth_dagster.orchestration.resources import LandscapeResource

if TYPE_CHECKING:
    import pandas as pd

_PORT_AT: Final = 2
_DTYPES: Final[Mapping[str, str]] = {"int": "Int64", "float": "Float64", "bool": "boolean", "str": "string"}
"""Nullable types: a missing number stays missing, and an integer an integer."""


_READ_BACK: Final[Mapping[str, Callable[[str], object]]] = {"date": dt.date.fromisoformat, "decimal": Decimal}
"""What JSON has as text."""


class LandscapeIOManager(dg.ConfigurableIOManager):
    """Gives the rows that a node made last as a pandas DataFrame, with the types of its columns.

    ``dg.AssetIn(key=["complaints", "judged"], input_manager_key="landscape_io")`` asks for them. A gate's or fork's
    rows are those of the port's asset; a sink's those that it wrote. Nothing is stored through it.
    """

    url: str | None = Field(
        default=None, description="SQLAlchemy URL of the Landscape; by default as its resource."
    )

    def load_input(self, context: dg.InputContext) -> "pd.DataFrame":
        """The rows of the upstream asset's latest materialization, or of the partition that is asked for.

        Raises:
            LandscapeError: it was never materialized, or its rows were purged.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        from elspeth_dagster.landscape.rows_left import rows_left  # noqa: PLC0415 - so is the database's toolkit

        run_id = self._run(context)
        path = context.asset_key.path
        port = path[_PORT_AT] if len(path) > _PORT_AT else None
        with LandscapeResource(url=self.url).database() as database:
            rows = list(rows_left(database, run_id, path[1], port=port))
        types = _types(context)
        columns = list(dict.fromkeys([*types, *(name for row in rows for name in row)]))
        return pd.DataFrame({name: _series(pd, rows, name, types.get(name)) for name in columns})

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuse: rows reach the Landscape through a pipeline only."""
        _ = obj
        raise LandscapeError(
            "The Landscape stores no outputs of ordinary assets.",
            where=f"asset {context.asset_key.to_user_string()}",
            hint="use LandscapeIOManager as an `input_manager_key` only",
        )

    def _run(self, context: dg.InputContext) -> str:
        key = context.asset_key
        wanted = list(context.asset_partition_keys) if context.has_asset_partitions else []
        if len(wanted) > 1:
            raise LandscapeError(
                "Rows of several partitions are asked for at once.",
                where=f"asset {key.to_user_string()}",
                hint="ask for one partition, or read a sink's files",
            )
        query = dg.AssetRecordsFilter(
            asset_key=key, asset_partitions=None if wanted == [None] else list(wanted)
        )
        records = context.instance.fetch_materializations(query, limit=1).records
        if not records or records[0].asset_materialization is None:
            raise LandscapeError(
                "The asset was never materialized: there are no rows to load.",
                where=f"asset {key.to_user_string()}",
                hint="materialize the pipeline first",
            )
        return str(records[0].asset_materialization.metadata[RUN_KEY].value)


def _types(context: dg.InputContext) -> dict[str, str]:
    upstream = context.upstream_output
    metadata = {} if upstream is None else upstream.definition_metadata or {}
    schema = metadata.get("dagster/column_schema")
    schema = getattr(schema, "value", schema)
    return {} if schema is None else {column.name: column.type for column in schema.columns}


def _series(pd: Any, rows: list[Row], name: str, type_name: str | None) -> Any:
    values = [row.get(name) for row in rows]
    kind = (type_name or "").removesuffix("?")
    if kind == "datetime":
        return pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
    if kind in _READ_BACK:
        read = _READ_BACK[kind]
        return pd.Series([None if value is None else read(str(value)) for value in values], dtype="object")
    return pd.Series(values, dtype=_DTYPES.get(kind, "object"))
