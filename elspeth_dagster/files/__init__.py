"""Files: readers of CSV and JSON Lines that survive whatever is in them, and writers that leave all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.files.atomic import AtomicFile
    from elspeth_dagster.files.csv_file import read_csv
    from elspeth_dagster.files.header import check_header
    from elspeth_dagster.files.jsonl_file import read_jsonl
    from elspeth_dagster.files.paths import placeholders, resolve
    from elspeth_dagster.files.record import Bounds, RawRecord, read_row, recordable
    from elspeth_dagster.files.writers import Artifact, RowWriter, open_writer

__all__ = [
    "Artifact",
    "AtomicFile",
    "Bounds",
    "RawRecord",
    "RowWriter",
    "check_header",
    "open_writer",
    "placeholders",
    "read_csv",
    "read_jsonl",
    "read_row",
    "recordable",
    "resolve",
]

__getattr__ = loader(
    __name__,
    {
        "atomic": ["AtomicFile"],
        "csv_file": ["read_csv"],
        "header": ["check_header"],
        "jsonl_file": ["read_jsonl"],
        "paths": ["placeholders", "resolve"],
        "record": ["Bounds", "RawRecord", "read_row", "recordable"],
        "writers": ["Artifact", "RowWriter", "open_writer"],
    },
)
