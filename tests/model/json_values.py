"""What JSON may be, for Hypothesis: whatever `normalised` accepts, with a taste for numbers and keys at the edges."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st

from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX, Row

EDGE_NUMBERS: tuple[int | float, ...] = (
    0, -0.0, 1, 1.0, 0.1, 1e-5, 1e-6, 9.999999999999997e-7, 1e-7, 5e-324, 1e15, 1e16, 2.0**53, -(2.0**53),
    SAFE_INTEGER_MAX, -SAFE_INTEGER_MAX, float(SAFE_INTEGER_MAX), 1e20, 1.5e20, 999999999999999900000.0, 1e21, 1e22,
    1.7976931348623157e308,
)  # fmt: skip

texts = st.text(st.characters(codec="utf-8"), max_size=12)
keys = st.one_of(st.text("abcz_\r é€\U0001f600\ufb33\u0080", max_size=4), texts)
numbers = st.one_of(
    st.integers(-SAFE_INTEGER_MAX, SAFE_INTEGER_MAX),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(EDGE_NUMBERS),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values: st.SearchStrategy[JSON] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
rows: st.SearchStrategy[Row] = st.dictionaries(keys, values, max_size=6)


def nested(levels: int, innermost: JSON = 1) -> Row:
    """Objects and lists in turn, one in the other; ``levels`` below the row itself."""
    value: JSON = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"deeper": value}
    return {"top": value}


moments = st.datetimes(
    # Fixed offsets: Python itself calls two moments different when one falls into a repeated hour.
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))),
    min_value=dt.datetime(2, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=dt.datetime(9998, 1, 1),  # noqa: DTZ001
)
