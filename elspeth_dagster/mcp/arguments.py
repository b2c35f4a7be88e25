"""What each tool takes: the schema that clients see, and what is checked when a tool is called."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from elspeth_dagster.landscape.free_query import ROWS_MAX
from elspeth_dagster.landscape.paging import PAGE_DEFAULT, PAGE_MAX
from elspeth_dagster.model.outcome import StateStatus

Text = Annotated[str, Field(min_length=1, max_length=1_000)]  # ids are shorter


class Arguments(BaseModel):
    """No arguments, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageArguments(Arguments):
    """A page of results."""

    after: str | None = Field(default=None, max_length=4_000, description="`next` of the page before")
    limit: int = Field(default=PAGE_DEFAULT, ge=1, le=PAGE_MAX, description="results on a page")


class RunArguments(Arguments):
    """One run."""

    run_id: Text = Field(description="the run's key, its id, or the beginning of either")


class NodeArguments(RunArguments):
    """One run, perhaps one node of it."""

    node_id: Text | None = Field(default=None, description="only this node")


class StatesArguments(NodeArguments, PageArguments):
    """States of a run."""

    token_id: Text | None = Field(default=None, description="only this token")
    status: StateStatus | None = Field(default=None, description="only visits that ended so")


class EventsArguments(NodeArguments, PageArguments):
    """Decisions of a run's joins."""


class TokenArguments(RunArguments):
    """One token of a run."""

    token_id: Text = Field(description="the token's id, as 1f0c9a52-000000042")


class RowArguments(RunArguments):
    """One row of a run's source."""

    row_index: int = Field(ge=0, lt=2**62, description="the row, counted from 0")


class CallsArguments(PageArguments):
    """Calls of a state."""

    state_id: Text = Field(description="the state's id, as 1f0c9a52-000000042@judge")


class QueryArguments(Arguments):
    """A query in SQL."""

    sql: str = Field(
        min_length=1, max_length=20_000, description="one SELECT in the dialect of the Landscape's database"
    )
    limit: int = Field(default=PAGE_DEFAULT, ge=1, le=ROWS_MAX, description="rows at most")
