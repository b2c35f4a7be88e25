"""`python`: a function of the user's own, a row in and a row out; or a page of rows, as a DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from elspeth_dagster import pooling
from elspeth_dagster.errors import DeclarationError, NotJSONError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row, normalised
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home, Mistake, PageDecider, StepConfig
from elspeth_dagster.nodes.python_function import CALL_PATTERN, Found, find_function
from elspeth_dagster.nodes.python_raised import raised
from elspeth_dagster.pooling import PoolConfig


class PythonConfig(StepConfig):
    """`call: package.module:function`; the declaration's folder is importable."""

    operational: ClassVar[frozenset[str]] = StepConfig.operational | {"determinism_declared", "pool"}

    kind: Literal["python"]
    call: str = Field(pattern=CALL_PATTERN, description="`module:function`, a row in and a row out.")
    batch: bool = Field(
        default=False, description="The function takes and returns a pandas DataFrame of at most 1,000 rows."
    )
    determinism_declared: Literal["deterministic", "nondeterministic"] = Field(
        default="deterministic",
        alias="determinism",
        description="Whether the same row always gives the same row.",
    )
    pool: PoolConfig | None = Field(
        default=None,
        description="Rows overlap in threads, and a `CapacityError` that the function raises is tried again.",
    )
    columns: list[str] | None = Field(
        default=None,
        description="The columns of the rows that it returns, where later steps should be checked.",
    )

    _found: tuple[Home, Found] | None = PrivateAttr(default=None)

    def determinism_of(self) -> str:
        """What the declaration says of the function."""
        return self.determinism_declared

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """A module or function that is not there, or that cannot be called with a row."""
        _ = columns
        if self.batch and self.pool is not None:
            yield Mistake(
                ("pool",), "With `batch: true` a page of rows is one call: there is nothing to overlap."
            )
        try:
            self._function(home)
        except DeclarationError as error:
            yield Mistake(("call",), error.what)

    def decision(self, home: Home) -> dict[str, JSON]:
        """The source that the function stands on counts: a changed function decides differently."""
        return {**super().decision(home), "source_sha256": self._function(home).source_sha256}

    def columns_out(self, columns: Columns) -> Columns:
        """What the declaration promises; otherwise unknown."""
        _ = columns
        return None if self.columns is None else tuple(dict.fromkeys(self.columns))

    def compile(self, home: Home) -> Caller | PageDecider:
        """Import the function."""
        function = self._function(home).function
        if not self.batch:
            return Caller(self.call, function)
        from elspeth_dagster.nodes.python_page import PageCaller  # noqa: PLC0415 - pandas is slow to import

        return PageCaller(self.call, function)

    def compile_pooled(self, home: Home) -> tuple[Caller, AbstractContextManager[None]]:
        """The function for any number of threads, to be called inside the context only."""
        found = self._function(home)
        return Caller(self.call, found.plain, is_pooled=True), found.active()

    def _function(self, home: Home) -> Found:
        """Imported once for each loaded declaration: what was checked and hashed is what runs."""
        if self._found is None or self._found[0] != home:
            self._found = (home, find_function(self.call, home))
        return self._found[1]


@dataclass(frozen=True, slots=True)
class Caller:
    """A function of a row, made ready. In a pool, an error of capacity is the pool's to deal with."""

    call: str
    function: Callable[..., object]
    is_pooled: bool = False

    def decide(self, row: Row) -> Decision:
        """What the function makes of a copy of ``row``; whatever it raises is the row's error.

        Raises:
            Exception: what says that somebody has no capacity now, if the function runs in a pool.
        """
        try:
            made = self.function(_copied(row))
        except (Exception, SystemExit) as error:
            if self.is_pooled and pooling.is_capacity_error(error):
                raise
            return raised(error)
        if not isinstance(made, dict):
            got = type(made).__name__
            what = "nothing: does it end with `return row`?" if made is None else f"{got}, not a dict."
            return Rejected("step_returned_no_row", f"{self.call} returned {what}", facts={"returned": got})
        try:
            return Emitted(normalised(made))
        except NotJSONError as error:
            return Rejected("not_json", error.what, facts={"field": error.field})


def _copied(row: Row) -> Row:
    return {name: _copied_value(value) for name, value in row.items()}


def _copied_value(value: JSON) -> JSON:
    if isinstance(value, list):
        return [_copied_value(item) for item in value]
    return _copied(value) if isinstance(value, dict) else value
