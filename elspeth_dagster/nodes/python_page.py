"""`python` with `batch: true`: a function that takes a page of rows as a pandas DataFrame, and gives one back.

It must decide about each row by itself: pages are for speed, and a resumed run cuts them elsewhere. An aggregate is for
what is made of many rows.
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
from elspeth_dagster.nodes.python_frame import doubled_columns, frame_of, is_shuffled, wrong_order
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
            made = self.function(frame_of(rows))
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
        if is_shuffled(made.index):
            return wrong_order(self.call)
        return doubled_columns(self.call, made)


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
