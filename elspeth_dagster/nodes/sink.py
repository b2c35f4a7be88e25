"""Sinks: where rows end. A sink's file is whole or not there; outcomes are recorded once it is durable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from elspeth_dagster import files
from elspeth_dagster.errors import SinkError
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig, Sources, listed
from elspeth_dagster.nodes.source import path_mistakes

ERROR_FIELD = "_error"
"""Where a sink of failed or quarantined rows says what was wrong, beside the row's own fields."""


@dataclass(frozen=True, slots=True)
class WrittenBy:
    """Whose rows a sink writes: where the declaration lives, the run, and the sink's own name in it.

    ``landscape`` is the audit database's file, where it is one.
    """

    home: Home
    pipeline: str
    node_id: str
    partition: str | None
    run_id: str
    landscape: Path | None = None


class SinkConfig(NodeConfig):
    """What every sink says: the ports whose rows it takes."""

    kind: str
    from_: Sources | None = Field(
        default=None,
        alias="from",
        description="The port or ports whose rows it takes; none: `on_error` feeds it.",
    )

    def sources(self) -> tuple[str, ...]:
        """The ports that it names, in order."""
        return listed(self.from_)

    def needs_types(self) -> bool:
        """Whether all rows must be looked at before the first is written."""
        return False

    def written_types(self) -> dict[str, str]:
        """The columns and types that the declaration says are written; none where they follow from the rows."""
        return {}

    def writer(self, by: WrittenBy, columns: Mapping[str, ColumnType | None]) -> files.RowWriter:
        """What takes the run's rows and makes them durable together. ``columns`` are in order, with types if needed.

        Raises:
            SinkError: the target cannot be written.
        """
        raise NotImplementedError

    def written_now(self, artifact: files.Artifact, by: WrittenBy) -> bytes | None:
        """The digest of what is there now; None if it is gone."""
        raise NotImplementedError


class FileSinkConfig(SinkConfig):
    """A sink that is a file."""

    # Where and how a file is written decides nothing about a row: it can be mended before a resume.
    operational: ClassVar[frozenset[str]] = NodeConfig.operational | {"allow_outside", "path", "columns"}

    path: str = Field(
        description="Relative to the declaration's folder; `{partition}` and `{run_id}` may stand in it."
    )
    allow_outside: bool = Field(default=False, description="Whether the path may leave the project's folder.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """A path that leaves the project."""
        _ = columns
        yield from path_mistakes(self.path, home, allow_outside=self.allow_outside)

    def file(self, home: Home, *, partition: str | None, run_id: str | None) -> Path:
        """The file of this run.

        Raises:
            SinkError: the path leaves the project.
        """
        try:
            return files.resolve(
                self.path,
                base=home.base,
                root=home.root,
                allow_outside=self.allow_outside,
                partition=partition,
                run_id=run_id,
            )
        except ValueError as error:
            raise SinkError(str(error), where=f"sink path {self.path!r}") from error

    def writer(self, by: WrittenBy, columns: Mapping[str, ColumnType | None]) -> files.RowWriter:
        """A writer of the run's file."""
        path = self.file(by.home, partition=by.partition, run_id=by.run_id)
        return self.open(path, columns=tuple(columns))

    def open(self, path: Path, *, columns: Sequence[str]) -> files.RowWriter:
        """A writer whose file appears when it is finished. ``columns`` are those of the first row, known ones first."""
        raise NotImplementedError

    def written_now(self, artifact: files.Artifact, by: WrittenBy) -> bytes | None:
        """The digest of the file as it is."""
        _ = by
        if artifact.path is None:
            return None
        try:
            with artifact.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return None


class CsvSinkConfig(FileSinkConfig):
    """Comma-separated values with a header row; nested values as JSON in their cell."""

    kind: Literal["csv"]
    columns: list[str] | None = Field(
        default=None, min_length=1, description="The columns to write, in order; others are left out."
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also a column that is named twice, or that is like a known one: a slip of the pen would be an empty column.

        Any other unknown one may come with the rows, and is no mistake.
        """
        yield from super().mistakes(columns, home)
        for index, name in enumerate(self.columns or ()):
            if name in (self.columns or ())[:index]:
                yield Mistake(("columns", index), f"Column {name!r} is named twice.")
            elif (
                columns is not None
                and name not in columns
                and name != ERROR_FIELD
                and (meant := suggest(name, columns))
            ):
                listed_columns = ", ".join(columns)
                what = f"Column {name!r} does not reach this sink.{meant} Columns there: {listed_columns}."
                yield Mistake(("columns", index), what)

    def open(self, path: Path, *, columns: Sequence[str]) -> files.RowWriter:
        """A writer of the columns declared here, or of those that reach the sink."""
        if self.columns is not None:
            return files.open_writer("csv", path, columns=self.columns, extra="drop")
        return files.open_writer("csv", path, columns=columns)


class JsonlSinkConfig(FileSinkConfig):
    """One JSON object a line."""

    kind: Literal["jsonl"]

    def open(self, path: Path, *, columns: Sequence[str]) -> files.RowWriter:
        """A writer of whole rows."""
        _ = columns
        return files.open_writer("jsonl", path)
