"""Sources: where rows come from. The only place that coerces types; what does not fit is quarantined."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from elspeth_dagster import files
from elspeth_dagster.errors import SourceError
from elspeth_dagster.model.columns import Column, RowReader, parse_columns
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig

DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source reads in one run: ``records`` in order, bad ones too.

    ``where`` is shown in errors. ``uri`` is what Dagster shows, None for what was only handed over; ``path`` is the
    file's, where it is one. ``noun`` is what to call it.
    """

    where: str
    records: Iterator[files.RawRecord]
    uri: str | None = None
    path: Path | None = None
    noun: str = "file"


class SourceConfig(NodeConfig):
    """What every source says: the columns of its rows, and what becomes of what does not fit."""

    columns: dict[str, str] = Field(
        min_length=1,
        description="Column: type (str int float bool date datetime decimal json), `?` behind it: may be missing.",
    )
    extra_columns: Literal["keep", "drop", "refuse"] = Field(
        default="keep", description="What becomes of columns that are not declared."
    )
    on_invalid: str = Field(
        default=DISCARD, description="The sink that takes quarantined rows, or `discard`."
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Types that do not exist."""
        _ = columns, home
        for name, type_name in self.columns.items():
            try:
                parse_columns({name: type_name})
            except ValueError as error:
                yield Mistake(("columns", name), str(error))

    def columns_out(self, columns: Columns) -> Columns:
        """What is declared: an undeclared column that is kept is carried, but no step can rely on it."""
        _ = columns
        return tuple(self.columns)

    @property
    def parsed_columns(self) -> tuple[Column, ...]:
        """The declared columns, in order."""
        return parse_columns(self.columns)

    def reading(self, home: Home, *, partition: str | None, run_id: str | None) -> Reading:
        """What this run reads; opened when the first record is asked for.

        Raises:
            SourceError: it can be told before that it cannot be read.
        """
        raise NotImplementedError

    def reader(self) -> RowReader:
        """What turns a raw record into a row, or names what is wrong with it."""
        raise NotImplementedError


class FileSourceConfig(SourceConfig):
    """A source that is a file."""

    operational: ClassVar[frozenset[str]] = SourceConfig.operational | {"allow_outside"}

    path: str = Field(
        description="Relative to the declaration's folder; `{partition}` and `{run_id}` may stand in it."
    )
    allow_outside: bool = Field(default=False, description="Whether the path may leave the project's folder.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also a path that leaves the project."""
        yield from super().mistakes(columns, home)
        yield from path_mistakes(self.path, home, allow_outside=self.allow_outside)

    def reading(self, home: Home, *, partition: str | None, run_id: str | None) -> Reading:
        """The file of this run."""
        path = self.file(home, partition=partition, run_id=run_id)
        return Reading(str(path), self.records(path), uri=str(path), path=path)

    def file(self, home: Home, *, partition: str | None, run_id: str | None) -> Path:
        """The file of this run.

        Raises:
            SourceError: the path leaves the project.
        """
        try:
            return files.resolve(
                self.path,
                base=home.base,
                root=home.root,
                allow_outside=self.allow_outside,
                partition=partition,
                run_id=run_id,
                literal=True,
            )
        except ValueError as error:
            raise SourceError(str(error), where=f"source path {self.path!r}") from error

    def records(self, path: Path) -> Iterator[files.RawRecord]:
        """Every record of the file, bad ones too, in order."""
        raise NotImplementedError


class CsvSourceConfig(FileSourceConfig):
    """Comma-separated values with a header row."""

    kind: Literal["csv"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = Field(default="utf-8-sig", description="Of the text; a byte order mark is skipped.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also an encoding that does not exist, and a delimiter that cannot be one."""
        yield from super().mistakes(columns, home)
        if self.delimiter in '"\r\n ':
            yield Mistake(("delimiter",), f"{self.delimiter!r} cannot be a delimiter.")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, ValueError):
            yield Mistake(("encoding",), f"There is no encoding {self.encoding!r}; `utf-8` is the usual one.")

    def records(self, path: Path) -> Iterator[files.RawRecord]:
        """Every record of the file, bad ones too, in order."""
        return files.read_csv(
            path,
            columns=self.parsed_columns,
            extra=self.extra_columns,
            delimiter=self.delimiter,
            encoding=self.encoding,
        )

    def reader(self) -> RowReader:
        """Every cell is text to be coerced."""
        return RowReader(self.parsed_columns, extra=self.extra_columns, from_text=True)


class JsonlSourceConfig(FileSourceConfig):
    """One JSON object a line."""

    kind: Literal["jsonl"]

    def records(self, path: Path) -> Iterator[files.RawRecord]:
        """Every record of the file, bad ones too, in order."""
        return files.read_jsonl(path)

    def reader(self) -> RowReader:
        """Values have types already: they must fit."""
        return RowReader(self.parsed_columns, extra=self.extra_columns, from_text=False)


class AssetSourceConfig(JsonlSourceConfig):
    """An existing Dagster asset: the table that it has, as its IO manager loads it.

    Its rows come to this node as a file of JSON lines, which whoever launches the run writes and names.
    """

    operational: ClassVar[frozenset[str]] = FileSourceConfig.operational | {"path"}

    kind: Literal["asset"]  # type: ignore[assignment] # another kind, read alike
    asset: list[str] = Field(min_length=1, description="The asset's key: `[warehouse, messages]`.")
    path: str = Field(default="", exclude=True, description="Not for declarations.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """As of any source; and a path, which an asset has none of."""
        if self.path:
            yield Mistake(("path",), "An asset has no path: its IO manager knows where it is.")
            return
        yield from (one for one in super().mistakes(columns, home) if one.path[:1] != ("path",))

    def reading(self, home: Home, *, partition: str | None, run_id: str | None) -> Reading:
        """The rows that were handed over: the file is a copy, and nobody else's business."""
        path = self.file(home, partition=partition, run_id=run_id)
        return Reading(f"asset {'/'.join(self.asset)}", self.records(path), noun="asset")

    def file(self, home: Home, *, partition: str | None, run_id: str | None) -> Path:
        """Where the rows were written for this run.

        Raises:
            SourceError: nobody wrote them: the run was not launched by Dagster with the asset at hand.
        """
        _ = home, partition, run_id
        if not self.path:
            raise SourceError(
                "The rows of the source's asset are not at hand.",
                where=f"asset {'/'.join(self.asset)}",
                hint="materialize the pipeline in the code location that has the asset",
            )
        return Path(self.path)


def path_mistakes(path: str, home: Home, *, allow_outside: bool) -> Iterator[Mistake]:
    """A path that cannot be used, whatever the run."""
    try:
        files.resolve(
            path, base=home.base, root=home.root, allow_outside=allow_outside, partition="p", run_id="r"
        )
    except ValueError as error:
        yield Mistake(("path",), str(error))
