"""Pages put together are the whole answer, each result once and in order, whatever kind the keys are of."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.paging import Columns, paged
from elspeth_dagster.landscape.schema import row_salts

SALTS = {f"salt-{index}": bytes([index % 3, 255 - index]) for index in range(7)}
BY_ID = (row_salts.c.salt_id,)
BY_BYTES = (row_salts.c.salt, row_salts.c.salt_id)


@pytest.mark.parametrize("is_latest_first", [False, True])
@pytest.mark.parametrize("by", [BY_ID, BY_BYTES], ids=["by one text", "by bytes and text"])
def test_pages_put_together_are_the_whole_answer(
    database: Database, by: Columns, *, is_latest_first: bool
) -> None:
    with database.write() as connection:
        rows = [{"salt_id": salt_id, "run_id": "", "salt": salt} for salt_id, salt in SALTS.items()]
        connection.execute(sa.insert(row_salts), rows)
    whole = sorted(SALTS, key=lambda one: (SALTS[one], one) if by is BY_BYTES else one)
    pages: list[tuple[str, ...]] = []
    after = None
    with database.read() as connection:
        while not pages or after:
            page = paged(
                connection,
                sa.select(row_salts),
                lambda one: str(one.salt_id),
                by=by,
                after=after,
                limit=3,
                is_latest_first=is_latest_first,
            )
            pages.append(page.items)
            after = page.next
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == (whole[::-1] if is_latest_first else whole)
