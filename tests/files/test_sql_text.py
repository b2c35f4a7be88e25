"""A query is one SELECT that cannot be led out of its brackets; the partition is a parameter."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from elspeth_dagster.files.sql_text import as_text, bare, query_mistakes

ONLY_READS = "A source only reads"
TWO = "It holds more than one statement"
BRACKETS = "Its brackets do not match"
OPEN = "A quote or comment is never closed"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "select a from t where b = 'it''s; (' -- ; drop\n;",
        "WITH x AS (SELECT 1) SELECT * FROM x;  ",
        "/* DELETE */ ((SELECT 1) UNION (SELECT 2))",
        "VALUES (1), (2)",
        'SELECT ")" FROM "t;"',
        "SELECT $$ ; ) $$, $q$ ' $q$",
        "SELECT '12:30'::time, {partition}, '{1,2}'",
        "SELECT a[1] FROM t",
    ],
)
def test_one_select_is_taken(query: str) -> None:
    assert list(query_mistakes(query)) == []


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("", "The query is empty"),
        ("  -- nothing\n", "The query is empty"),
        ("DELETE FROM t", ONLY_READS),
        ("drop table t", ONLY_READS),
        ("(UPDATE t SET a = 1)", ONLY_READS),
        ("EXPLAIN SELECT 1", ONLY_READS),
        ("SELECT 1; DROP TABLE t", TWO),
        ("SELECT 1;;", TWO),
        ("SELECT 1) AS x; COMMIT; DROP TABLE t; --", TWO),
        ("SELECT 1) AS x UNION SELECT (2", BRACKETS),
        ("SELECT 1)", BRACKETS),
        ("SELECT (1", BRACKETS),
        ("SELECT 'open", OPEN),
        ("SELECT 1 /* open", OPEN),
        ('SELECT "open', OPEN),
        ("SELECT * FROM t WHERE day = '{partition}'", "bound as a parameter"),
        ("SELECT {partiton}", "Did you mean 'partition'?"),
    ],
)
def test_anything_else_is_told(query: str, what: str) -> None:
    (said,) = query_mistakes(query)
    assert what in said


def test_colons_are_the_authors_and_the_partition_is_a_parameter() -> None:
    text = sa.text(as_text("SELECT '1:2', ' :x', a::text, b[1:2], {partition}"))
    assert list(text.compile().params) == ["elspeth_partition"]
    assert str(text).startswith("SELECT '1:2', ' :x', a::text, b[1:2], ")


def test_the_semicolon_at_the_end_goes_whatever_stands_behind_it() -> None:
    assert bare("SELECT ';' -- ;\n; -- end") == "SELECT ';' -- ;\n -- end"
