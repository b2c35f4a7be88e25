"""Rows as a pandas DataFrame, and back.

Columns have pandas' nullable types, so that an int beside a null stays an int. A frame has every column in every row,
so a field that some rows lack is null there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pandas as pd

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as columns of nullable types, numbered from 0."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object).convert_dtypes() for name in names
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def records_of(call: str, made: object, *, rows_in: int, is_passthrough: bool) -> Sequence[object] | Rejected:
    """The rows of what ``call`` made of a batch of ``rows_in``: a DataFrame, one row, or several; as they were made."""
    if isinstance(made, dict):
        made = [made]
    if isinstance(made, pd.DataFrame):
        refused = doubled_columns(call, made)
        if refused is None and is_passthrough and len(made) == rows_in and is_shuffled(made.index):
            refused = wrong_order(call)
        if refused is not None:
            return refused
        made = made.to_dict("records")
    if not isinstance(made, list | tuple):
        got = type(made).__name__
        message = f"{call} returned {got}, neither a DataFrame nor a list of rows."
        return Rejected("step_returned_no_rows", message, facts={"returned": got})
    if not made:
        return Rejected(
            "step_returned_no_rows",
            f"{call} returned no rows for a batch of {rows_in}.",
            facts={"rows_in": rows_in},
        )
    return cast("Sequence[object]", made)


def doubled_columns(call: str, made: pd.DataFrame) -> Rejected | None:
    """Two columns of one name: one would be lost."""
    if made.columns.is_unique:
        return None
    return Rejected("batch_columns_doubled", f"{call} returned two columns of one name.")


def wrong_order(call: str) -> Rejected:
    """Rows would be taken for each other."""
    return Rejected("batch_wrong_order", f"{call} returned its rows in another order (see the index).")


def is_shuffled(index: pd.Index) -> bool:
    """Whether the index is the one that was given, in another order."""
    labels = index.tolist()
    places = list(range(len(labels)))
    return labels != places and all(type(label) is int for label in labels) and sorted(labels) == places
