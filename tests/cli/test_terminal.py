"""What is printed is safe, fits, and reads well."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.cli.amounts import (
    counted,
    duration,
    fields_text,
    milliseconds,
    money,
    ordinal,
    rate,
    value_text,
)
from elspeth_dagster.cli.terminal import ASCII, Cell, Terminal, cell_width, safe, shortened, terminal_of


@given(st.text())
def test_nothing_that_a_row_holds_reaches_the_terminal_as_a_command(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable() or all(char.isprintable() or ord(char) > 0x9F for char in shown)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) <= 1
    shown.encode()  # no lone surrogate is left


@given(st.text(), st.integers(min_value=2, max_value=60))
def test_a_shortened_text_fits(text: str, columns: int) -> None:
    assert cell_width(shortened(text, columns)) <= columns


def test_a_table_keeps_to_the_width_and_cuts_only_its_last_column() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, 40, is_coloured=False, symbols=ASCII)
    terminal.table(
        [
            [Cell("12", is_number=True), Cell("name"), Cell("a long text that cannot fit in here")],
            [Cell("3", is_number=True)],
        ]
    )
    first, second = stream.getvalue().splitlines()
    assert first == "  12  name  a long text that cannot f..."
    assert len(first) == 40
    assert second == "   3"


def test_colours_are_for_screens_only() -> None:
    plain = terminal_of(io.StringIO())
    assert (plain.is_coloured, plain.width) == (False, 80)
    assert plain.paint("x", "bold red") == "x"
    assert (
        Terminal(io.StringIO(), 80, is_coloured=True, symbols=ASCII).paint("x", "bold red")
        == "\x1b[1;31mx\x1b[0m"
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (counted(1, "row"), "1 row"),
        (counted(3080, "row"), "3,080 rows"),
        (duration(0.054), "54 ms"),
        (duration(9.84), "9.8 s"),
        (duration(125), "2 min 05 s"),
        (duration(3661), "1 h 01 min"),
        (milliseconds(0.0249), "0.025 ms"),
        (milliseconds(54.2), "54 ms"),
        (milliseconds(1234), "1.2 s"),
        (rate(304.4), "304"),
        (rate(29_900), "29,900"),
        (rate(2.44), "2.44"),
        (money(0.0248271), "$0.0248"),
        (money(0.00000855), "$0.00000855"),
        (money(12.4), "$12.40"),
        (ordinal(1), "1st"),
        (ordinal(12), "12th"),
        (ordinal(23), "23rd"),
        (value_text("calm"), "calm"),
        (value_text("two words"), '"two words"'),
        (value_text(None), "null"),
        (fields_text({"a": 1, "b": "x y"}), 'a 1, b "x y"'),
    ],
)
def test_numbers_and_values_read_as_people_write_them(shown: str, expected: str) -> None:
    assert shown == expected
