"""Which fields a source reads, and how it reaches them."""

from __future__ import annotations

import pytest

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import Expression, PromptTemplate, expression_mistakes, template_mistakes
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.suggest import suggest

METHOD_NAMES = [
    "items",
    "keys",
    "values",
    "get",
    "update",
    "pop",
    "copy",
    "class",
    "if",
    "in",
    "format",
    "loop",
]


def _rendered(source: str, row: Row) -> str:
    return PromptTemplate.compile(source, where="prompt").render(row).text


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_field_wins_over_every_method(name: str) -> None:
    row: Row = {name: "A", "inner": {name: "B"}, "several": [{name: "C"}]}

    text = _rendered(f"{{{{ row.{name} }}}}{{{{ row.inner.{name} }}}}{{{{ row.several[0].{name} }}}}", row)

    assert text == "ABC"


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_field_that_is_not_there_is_an_error_and_never_a_method(name: str) -> None:
    with pytest.raises(ExpressionError, match="no field"):
        _rendered(f"{{{{ row.inner.{name} }}}}", {"inner": {}})


@pytest.mark.parametrize("name", ["a b", "a.b", "Größe", "a'b", "}}", "{% if %}", "a\nb", "", "0"])
def test_a_field_of_any_name_can_be_read_by_subscript(name: str) -> None:
    written = name.replace("'", "\\'").replace("\n", "\\n")

    expression = Expression.compile(f"row['{written}']", where="set")

    assert expression.value({name: 7}) == 7
    assert expression.reads == {name}


def test_a_call_reaches_the_method_though_a_field_has_its_name() -> None:
    text = _rendered(
        "{% for k, v in row.a.items() %}{{ k }}={{ v }} {% endfor %}", {"a": {"items": 1, "b": 2}}
    )

    assert text == "items=1 b=2 "


def test_an_object_is_looped_over_by_its_keys() -> None:
    row: Row = {"a": {"x": 1, "items": 2}}

    assert _rendered("{% for k in row.a %}{{ k }},{% endfor %}{{ row.a|length }}", row) == "x,items,2"
    assert _rendered("{{ 'x' in row.a }} {{ 1 in row.a.values() }} {{ 'y' in row.a.keys() }}", row) == (
        "True True False"
    )


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ row.text }} {{ row['a b'] }}", {"text", "a b"}),
        ("{% for t in row.tags %}{{ t.name }}{% endfor %}", {"tags"}),
        ("{% set x = row.a %}{{ x.b.c }}", {"a"}),
        ("{% for t in row.tags if t.n > row.min %}{{ t }}{% else %}{{ row.no }}{% endfor %}", {"tags", "min", "no"}),
        ("{% if row.a is defined and row.b|default(row.c) %}{{ row.d.e.f }}{% endif %}", set("abcd")),
        ("{% set block %}{{ row.a }}{% endset %}{{ block }}", {"a"}),
        ("{{ row.text.strip() }}{{ row.tags[row.n:] }}{{ [row.a, {'k': row.b}] }}", {"text", "tags", "n", "a", "b"}),
        ("{{ lookup.codes[row.code] }}", {"code"}),
        ("no field at all", set()),
    ],
)  # fmt: skip
def test_the_fields_that_a_template_reads_are_known_beforehand(source: str, reads: set[str]) -> None:
    template = PromptTemplate.compile(source, where="prompt", lookups={"codes": {}})

    assert template.reads == reads
    assert not template.reads_whole_row


@pytest.mark.parametrize(
    "source", ["row[row.name]", "row|tojson", "row.items()", "'a' in row", "row|items", "[row]", "row == row"]
)
def test_reading_the_row_as_a_whole_is_known_beforehand(source: str) -> None:
    assert Expression.compile(source, where="set").reads_whole_row


def test_the_variables_are_what_was_read_and_nothing_else() -> None:
    template = PromptTemplate.compile(
        "{{ row.text }}{{ row.note|default('-') }}{{ criterion.name }}",
        where="prompt",
        names={"criterion": frozenset({"name"}), "case_study": None},
    )
    extra: dict[str, JSON] = {"criterion": {"name": "clarity"}, "case_study": {"name": "c1"}}

    rendered = template.render({"text": "hello", "secret": 1}, extra=extra)

    assert rendered.text == "hello-clarity"
    assert rendered.variables == {"row": {"text": "hello"}, "criterion": {"name": "clarity"}}


def test_a_template_that_reads_the_whole_row_varies_with_all_of_it() -> None:
    rendered = PromptTemplate.compile("{{ row|length }}", where="prompt").render({"a": 1, "b": 2})

    assert rendered.variables == {"row": {"a": 1, "b": 2}}


def test_a_field_that_does_not_reach_a_prompt_is_named_with_the_columns_and_a_suggestion() -> None:
    mistakes = template_mistakes("One.\n{{ row.amount }}", fields=frozenset({"id", "text", "amt"}))

    assert mistakes == [
        "line 2: Field 'amount' does not reach this prompt. Columns there: amt, id, text. Did you mean 'amt'?"
    ]


def test_all_mistakes_are_named_at_once_in_the_order_of_the_lines() -> None:
    source = "{{ rwo.a }}\n{{ row.b|uper }}\n{% if row.c is defind %}{{ lookup.cods }}{% endif %}\n{{ criterion.nam }}"

    mistakes = template_mistakes(
        source,
        fields=frozenset({"a"}),
        lookups=frozenset({"codes"}),
        names={"criterion": frozenset({"name"})},
    )

    assert [mistake.split(".")[0] for mistake in mistakes] == [
        "line 1: There is no 'rwo' here",
        "line 2: Field 'b' does not reach this prompt",
        "line 2: There is no filter 'uper'",
        "line 3: Field 'c' does not reach this prompt",
        "line 3: There is no test 'defind'",
        "line 3: 'lookup' has no 'cods'",
        "line 4: 'criterion' has no 'nam'",
    ]
    assert [mistake.partition("Did you mean ")[2] for mistake in mistakes] == [
        "'row'?", "", "'upper'?", "", "'defined'?", "'codes'?", "'name'?",
    ]  # fmt: skip


def test_compiling_refuses_with_all_mistakes_and_the_place() -> None:
    with pytest.raises(ExpressionError) as refused:
        PromptTemplate.compile("{{ row.a }}{{ row.b }}", where="step 'score'", fields=frozenset({"c"}))

    assert "'a'" in refused.value.what
    assert "'b'" in refused.value.what
    assert refused.value.where == "step 'score'"


def test_names_that_a_loop_or_set_makes_end_with_their_block() -> None:
    assert template_mistakes(
        "{% for a in [1] %}{% set b = a %}{% endfor %}{{ a }}{{ b }}{{ loop.index }}"
    ) == [
        "line 1: There is no 'a' here. Names here: lookup, range, row.",
        "line 1: There is no 'b' here. Names here: lookup, range, row.",
        "line 1: There is no 'loop' here. Names here: lookup, range, row. Did you mean 'lookup'?",
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("row.text|replace('a')", "missing a required argument: 'new'"),
        ("row.text|truncate(3, wide=1)", "unexpected keyword argument 'wide'"),
        ("row.text.strip('a', 'b')", "too many positional arguments"),
        ("row.n is divisibleby", "missing a required argument: 'divisor'"),
        ("row.tags|map", "needs the name of a filter"),
        ("row.tags|map('replace', 'a')", "missing a required argument: 'new'"),
        ("row.tags|select('ood')", "Did you mean 'odd'?"),
        ("row.text.upcase()", "no method 'upcase'"),
        ("row.a if row.b", "needs an 'else'"),
        ("loop.index", "no 'loop' here"),
        ("{{ row.a }}", "leave out the braces"),
        ("row.a ==", "line 1: "),
        ("row.a row.b", "the expression ends before 'row'".capitalize()),
        ("", "line 1: "),
    ],
)
def test_a_mistake_that_needs_no_row_is_found_without_one(source: str, words: str) -> None:
    (mistake,) = expression_mistakes(source)

    assert words in mistake


def test_a_loop_knows_its_own_fields_only() -> None:
    (mistake,) = template_mistakes("{% for a in row.b %}{{ loop.indx }}{% endfor %}")

    assert "'loop' has no 'indx'" in mistake
    assert mistake.endswith("Did you mean 'index'?")


def test_a_suggestion_takes_the_nearest_name_whatever_its_case() -> None:
    assert suggest("amount", ["id", "Amt", "mount"]) == " Did you mean 'mount'?"
    assert suggest("TEXT", ["text"]) == " Did you mean 'text'?"
    assert suggest("xyz", ["text"]) == ""
    assert suggest("x" * 1_000_000, ["x" * 1_000_000]) == ""
