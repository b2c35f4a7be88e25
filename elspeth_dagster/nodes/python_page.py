"""`python` with `batch: true`: a function that takes a page of rows as a pandas DataFrame, and gives one back.

It must decide about each row by itself: pages are for speed, and a resumed run cuts them elsewhere. Columns have
pandas' nullable types, so that an int beside a null stays an int.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import cast

import pandas as pd

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row, normalised
from elspeth_dagster.nodes.base import Decision, Emitted
from elspeth_dagster.nodes.python_raised import raised


@dataclass(frozen=True, slots=True)
class PageCaller:
    """A function of a DataFrame, made ready for rows."""

    call: str
    function: Callable[[pd.DataFrame], object]

    def decide_page(self, rows: Sequence[Row]) -> list[Decision]:
        """What becomes of each of ``rows``, in their order; what is wrong with the page is every row's error."""
        if not rows:
            return []
        try:
            made = self.function(_frame(rows))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            return [raised(error)] * len(rows)
        refused = self._refused(made, rows_in=len(rows))
        if refused is not None:
            return [refused] * len(rows)
        assert isinstance(made, pd.DataFrame)  # noqa: S101 - anything else was refused
        names = {name for row in rows for name in row}
        records = made.to_dict("records")
        return [_decided(row, record, names) for row, record in zip(rows, records, strict=True)]

    def _refused(self, made: object, *, rows_in: int) -> Rejected | None:
        if not isinstance(made, pd.DataFrame):
            got = type(made).__name__
            return Rejected(
                "step_returned_no_rows",
                f"{self.call} returned {got}, not a DataFrame.",
                facts={"returned": got},
            )
        if len(made) != rows_in:
            return Rejected(
                "batch_wrong_length",
                f"{self.call} was given {rows_in} rows and returned {len(made)}.",
                facts={"rows_in": rows_in, "rows_out": len(made)},
            )
        if not made.columns.is_unique:
            return Rejected("batch_columns_doubled", f"{self.call} returned two columns of one name.")
        if _is_shuffled(made.index):
            return Rejected(
                "batch_wrong_order", f"{self.call} returned its rows in another order (see the index)."
            )
        return None


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as columns of nullable types; a field that some rows lack is null there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object).convert_dtypes() for name in names
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def _is_shuffled(index: pd.Index) -> bool:
    """Whether the index is the one that was given, in another order: rows would be taken for each other."""
    labels = index.tolist()
    places = list(range(len(labels)))
    return labels != places and all(type(label) is int for label in labels) and sorted(labels) == places


def _decided(row: Row, made: Mapping[Hashable, object], page_names: AbstractSet[str]) -> Decision:
    try:
        fields = normalised(cast("Mapping[str, object]", made))  # refuses a column whose name is no text
    except NotJSONError as error:
        return Rejected("not_json", error.what, facts={"field": error.field})
    # A frame has every column in every row: a field that this row lacked, and that is still null, stays absent.
    lacking = page_names - row.keys()
    return Emitted(
        {name: value for name, value in fields.items() if value is not None or name not in lacking}
    )
