"""Run the source: every record becomes a row and a token; what does not fit is quarantined, with every violation named.

Ids are those of the record's place, salts are drawn once: reading the same file again after a crash writes nothing new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from itertools import islice
from typing import Protocol

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files import RawRecord, read_row
from elspeth_dagster.landscape.earlier import count_rows, known_hashes, known_salts, rows_read_to_the_end
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.clock import new_salts
from elspeth_dagster.model.columns import RowReader, Violation
from elspeth_dagster.model.outcome import INVALID_PORT, OUT_PORT, Outcome
from elspeth_dagster.nodes.source import DISCARD, Reading, SourceConfig
from elspeth_dagster.pipeline.partitions import shard_of
from elspeth_dagster.runtime.recording import PAYLOAD_BYTES_MAX, payload
from elspeth_dagster.runtime.work import ReadFrom, Work

VIOLATIONS_MAX = 100
"""So many of a record's violations are recorded, and then how many more there are: a file of thousands of columns that
is read with the wrong encoding would otherwise leave more evidence than rows, and a page of them not fit in memory."""


class Digest(Protocol):
    """What takes the content of all rows, one by one."""

    def update(self, data: bytes, /) -> None:
        """Take more."""


def run_source(work: Work, config: SourceConfig) -> None:
    """Read the whole source, or its first ``limit`` records; of these, a shard takes its own.

    Raises:
        SourceError: it cannot be read, or changed since an earlier attempt of this run read it.
    """
    reading = config.reading(
        work.pipeline.home, partition=work.handle.partition_key, run_id=work.handle.run_id
    )
    try:
        digest = _read(work, config, reading)
    finally:
        if isinstance(reading.records, Generator):
            reading.records.close()  # here and now: a database's connection belongs to this thread
    work.read_from = ReadFrom(reading.uri, reading.path, digest)


def _read(work: Work, config: SourceConfig, reading: Reading) -> bytes:
    """Read and record; gives the hash of what all rows hold."""
    reader, digest = config.reader(), hashlib.sha256()
    shard = shard_of(work.pipeline.head.division, work.handle.partition_key)
    records = (
        record for record in islice(reading.records, work.limit) if shard is None or shard.takes(record.index)
    )
    earlier = _Earlier(work, reading)
    count = 0
    while page := list(islice(records, PAGE_TOKENS)):
        work.check_stop()
        unit = _page(work, config, reader, page, digest)
        count += len(page)
        earlier.refuse_changed(unit, records=count)
        work.submit(unit)
    work.flush()
    earlier.refuse_shrunk(count)
    return digest.digest()


class _Earlier:
    """What an earlier attempt read. A source that changed since is not the source of this run any more."""

    def __init__(self, work: Work, reading: Reading) -> None:
        self._database, self._reading, self._is_first = work.database, reading, work.handle.attempt == 1
        source = (work.handle.run_id, work.node.node_id)
        self._known = 0 if self._is_first else count_rows(work.database, *source)
        self._whole = None if self._is_first else rows_read_to_the_end(work.database, *source)

    def refuse_changed(self, unit: Unit, *, records: int) -> None:
        """A record that reads otherwise, or one more than a whole reading had."""
        if self._is_first:
            return
        if self._whole is not None and records > self._whole:
            raise self._changed(f"it has more than the {self._whole:,} records that were read before")
        hashes = {str(row[0]): (row[3], row[5]) for row in unit.inserts["rows"]}
        for row_id, data_hash in known_hashes(self._database, list(hashes)).items():
            index, read_hash = hashes[row_id]
            if read_hash != data_hash:
                raise self._changed(f"record {index!r} is not what was read before")

    def refuse_shrunk(self, records: int) -> None:
        """Fewer records than were read before."""
        if self._known > records:
            raise self._changed(f"it has {records:,} records, {self._known:,} were read before")

    def _changed(self, how: str) -> SourceError:
        return SourceError(
            f"The source changed since this run began: {how}.",
            where=self._reading.where,
            hint=f"restore the {self._reading.noun} to resume this run, or launch a new run",
        )


def _page(work: Work, config: SourceConfig, reader: RowReader, page: list[RawRecord], digest: Digest) -> Unit:
    unit = Unit()
    row_ids = [ids.row_id(work.handle.run_key, record.index) for record in page]
    known = known_salts(work.database, row_ids) if work.handle.attempt > 1 else {}
    fresh = new_salts(len(page))
    for offset, (row_id, record) in enumerate(zip(row_ids, page, strict=True)):
        salt = known.get(row_id, fresh[offset])
        unit.insert("row_salts", (row_id, work.handle.run_id, salt))
        digest.update(_record(work, config, reader, unit, _Place(row_id, record.index, salt, record)))
    return unit


class _Place:
    """One record and where it stands."""

    __slots__ = ("index", "record", "row_id", "salt")

    def __init__(self, row_id: str, index: int, salt: bytes, record: RawRecord) -> None:
        self.row_id = row_id
        self.index = index
        self.salt = salt
        self.record = record


def _record(work: Work, config: SourceConfig, reader: RowReader, unit: Unit, place: _Place) -> bytes:
    """Record a row; gives the content that it was recorded with."""
    row, violations = read_row(place.record, reader)
    body = b"" if row is None else canonical_bytes(row)
    if len(body) > PAYLOAD_BYTES_MAX:
        violations = (*violations, _too_large(len(body)))
    port: str | None = OUT_PORT
    if violations:
        violations = _bounded(violations)
        body = canonical_bytes(place.record.raw)
        port = None if config.on_invalid == DISCARD else INVALID_PORT
    handle = work.handle
    data_hash = payload(unit, place.row_id, place.salt, body)
    unit.insert(
        "rows",
        sealed(
            "rows", place.row_id, handle.run_id, handle.node_id, place.index, port, data_hash, handle.execution_id
        ),
    )  # fmt: skip
    unit.insert(
        "tokens",
        sealed(
            "tokens", place.row_id, handle.run_id, place.row_id, ids.row_order_key(place.index), None,
            handle.node_id, place.row_id, handle.execution_id,
        ),
    )  # fmt: skip
    work.tally.rows_in += 1
    handle.rows_done += 1
    if violations:
        _quarantine(work, unit, place, violations, is_discarded=port is None)
    else:
        work.tally.rows_out += 1
        work.tally.by_port[OUT_PORT] += 1
    return body


def _quarantine(
    work: Work, unit: Unit, place: _Place, violations: tuple[Violation, ...], *, is_discarded: bool
) -> None:
    handle = work.handle
    for number, violation in enumerate(violations):
        unit.insert(
            "validation_errors",
            sealed(
                "validation_errors", f"{place.row_id}?{number}", handle.run_id, place.row_id, violation.field,
                violation.expected, violation.actual_type, violation.code, handle.execution_id,
            ),
        )  # fmt: skip
    work.tally.failed(violations[0].code, place.row_id)
    work.tally.by_port[INVALID_PORT] += 1
    handle.rows_failed += 1
    if is_discarded:
        unit.insert(
            "token_outcomes",
            sealed(
                "token_outcomes", ids.outcome_id(place.row_id, Outcome.QUARANTINED), handle.run_id, place.row_id,
                Outcome.QUARANTINED.value, Outcome.QUARANTINED.is_terminal, handle.node_id, None,
                violations[0].code, work.now(), handle.execution_id,
            ),
        )  # fmt: skip


def _bounded(violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """The first of them, and one that counts the others."""
    left = len(violations) - VIOLATIONS_MAX
    if left <= 0:
        return violations
    expected = f"at most {VIOLATIONS_MAX} violations"
    rest = Violation(
        None, expected, "object", "more_violations", f"{left:,} more of the record's fields do not fit."
    )
    return (*violations[:VIOLATIONS_MAX], rest)


def _too_large(size_bytes: int) -> Violation:
    return Violation(
        None,
        f"at most {PAYLOAD_BYTES_MAX} bytes",
        "object",
        "row_too_large",
        f"The row takes {size_bytes} bytes; at most {PAYLOAD_BYTES_MAX} are kept.",
    )
