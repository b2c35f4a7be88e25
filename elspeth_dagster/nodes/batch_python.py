"""`run: {kind: python}`: a function of the user's own, a batch as a pandas DataFrame in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from elspeth_dagster.errors import DeclarationError, NotJSONError
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, Row, normalised
from elspeth_dagster.nodes.base import Columns, Home, Mistake
from elspeth_dagster.nodes.batch_run import BatchResult, BatchRunConfig
from elspeth_dagster.nodes.python_function import CALL_PATTERN, Found, find_function
from elspeth_dagster.nodes.python_raised import raised


class PythonRunConfig(BatchRunConfig):
    """`call: package.module:function`; the declaration's folder is importable."""

    is_foreign: ClassVar[bool] = True

    kind: Literal["python"]
    call: str = Field(
        pattern=CALL_PATTERN,
        description="`module:function`, a pandas DataFrame in; a DataFrame, or a list of rows, out.",
    )
    columns: list[str] | None = Field(
        default=None,
        description="The columns of the rows that it returns, where later steps should be checked.",
    )

    _found: tuple[Home, Found] | None = PrivateAttr(default=None)

    def mistakes(self, columns: Columns, home: Home, *, group_by: Sequence[str]) -> Iterator[Mistake]:
        """A module or function that is not there, or that cannot be called with a DataFrame."""
        _ = columns, group_by
        try:
            self._function(home)
        except DeclarationError as error:
            yield Mistake(("call",), error.what)

    def columns_out(self, columns: Columns, *, group_by: Sequence[str]) -> Columns:
        """What the declaration promises; otherwise unknown."""
        _ = columns, group_by
        return None if self.columns is None else tuple(dict.fromkeys(self.columns))

    def decision(self, home: Home) -> dict[str, JSON]:
        """The source that the function stands on counts: a changed function decides differently."""
        return {**super().decision(home), "source_sha256": self._function(home).source_sha256}

    def compile(self, home: Home, *, is_passthrough: bool) -> BatchCaller:
        """Import the function."""
        return BatchCaller(self.call, self._function(home).function, is_passthrough)

    def _function(self, home: Home) -> Found:
        """Imported once for each loaded declaration: what was checked and hashed is what runs."""
        if self._found is None or self._found[0] != home:
            self._found = (home, find_function(self.call, home))
        return self._found[1]


@dataclass(frozen=True, slots=True)
class BatchCaller:
    """A function of a batch, made ready."""

    call: str
    function: Callable[..., object]
    is_passthrough: bool

    def admit(self, row: Row) -> Rejected | None:
        """Every row may come: what the function cannot do with it is the batch's error."""
        _ = row
        return None

    def decide_batch(self, rows: Sequence[Row], key: Row) -> BatchResult:
        """What the function makes of the batch; whatever it raises is the batch's error."""
        from elspeth_dagster.nodes.python_frame import frame_of, records_of  # noqa: PLC0415 - pandas is slow to import

        _ = key
        try:
            made = self.function(frame_of(rows))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            return raised(error)
        records = records_of(self.call, made, rows_in=len(rows), is_passthrough=self.is_passthrough)
        result = records if isinstance(records, Rejected) else _normalised(self.call, records)
        if self.is_passthrough and isinstance(result, Succeeded) and len(result.value) == len(rows):
            return Succeeded(_without_added_nulls(rows, result.value))
        return result


def _normalised(call: str, records: Sequence[object]) -> BatchResult:
    made: list[Row] = []
    for index, record in enumerate(records):
        if not isinstance(record, Mapping):
            got = type(record).__name__
            message = f"Row {index} that {call} returned is {got}, not a dict."
            return Rejected("step_returned_no_row", message, facts={"returned": got, "row": index})
        try:
            made.append(normalised(record))
        except NotJSONError as error:
            return Rejected("not_json", error.what, facts={"field": error.field, "row": index})
    return Succeeded(made)


def _without_added_nulls(rows: Sequence[Row], made: Sequence[Row]) -> list[Row]:
    """A field that a row lacked, and that is null because others had it, stays absent."""
    names = {name for row in rows for name in row}
    return [
        {name: value for name, value in new.items() if value is not None or name in row or name not in names}
        for row, new in zip(rows, made, strict=True)
    ]
