"""Sources written to break out, to run for ever, or to fill the memory."""

from __future__ import annotations

import copy
import time

import pytest

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import Expression, PromptTemplate, expression_mistakes, template_mistakes
from elspeth_dagster.expressions.limits import SECONDS_MAX, TEXT_CHARS_MAX
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.row import Row

ROW: Row = {"text": "x" * 1000, "n": 3, "tags": ["a", "b"], "address": {"city": "Bonn"}}
QUICK_S = 3.0
"""What an evaluation may take on a slow machine; the bounds themselves are counted in steps."""


class JumpingClock(SystemClock):
    """Each look at it is a minute later than the one before."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        self._now_s += 6 * SECONDS_MAX
        return self._now_s


@pytest.mark.parametrize(
    "source",
    [
        "''.__class__.__mro__",
        "row.__class__",
        "row['__class__']",
        "row.text.__class__.__base__.__subclasses__()",
        "row|attr('__class__')",
        "row.tags|map('attr', '__class__')",
        "row.tags|map(attribute='__class__')",
        "row.tags|map(attribute='name.__class__')",
        "row.tags|sort(attribute='_x')",
        "row.tags|selectattr('__class__')",
        "'{0.__class__}'.format(row)",
        "'{x.__class__}'.format_map(row)",
        "('%s' % row)",
        "'a' * 999999999",
        "999999999 * 'a'",
        "[0] * 999999999",
        "9 ** 9 ** 9",
        "lipsum()",
        "cycler('a')",
        "joiner(',')",
        "namespace(a=1)",
        "dict(a=1)",
        "self._TemplateReference__context",
        "row.tags.append('c')",
        "row.update(a=1)",
        "row.pop('text')",
        "row.tags|pprint",
        "row.text|center(999999999)",
        "row.text|xmlattr",
        "row.tags|map(row.text)",
        "range(*row.tags)",
        "row.text|replace(**row)",
        "row.text is callable",
        "9007199254740993",
        "1e999",
        "'\\ud800'",
        "1" * 5000,
    ],
)
def test_a_source_that_reaches_further_than_json_is_refused_when_it_is_loaded(source: str) -> None:
    assert expression_mistakes(source)
    assert template_mistakes(f"{{{{ {source} }}}}")


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% call f() %}{% endcall %}",
        "{% include 'secrets' %}",
        "{% import 'secrets' as s %}",
        "{% from 'secrets' import s %}",
        "{% extends 'secrets' %}",
        "{% block b %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% for a in row.tags recursive %}{{ loop(a) }}{% endfor %}",
        "{% do row.tags %}",
        "{% set row = 1 %}",
        "{% set row.text = 1 %}",
        "{% set lookup = 1 %}",
        "{% for row in [1] %}{% endfor %}",
        "{% for loop in [1] %}{% endfor %}",
        "{% set range = 1 %}",
        "{{ 'unfinished",
    ],
)
def test_a_statement_that_is_not_offered_is_refused_when_it_is_loaded(source: str) -> None:
    assert template_mistakes(source)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "[" * 5000 + "]" * 5000,
        "not " * 4000 + "true",
        "-" * 5000 + "1",
        "+1" * 1000,
        "1 if 1 else " * 600 + "1",
        "row" + ".x" * 1000,
        "row.x" + "|upper" * 500,
    ],
)
def test_an_expression_without_measure_gives_a_clear_mistake(source: str) -> None:
    assert len(expression_mistakes(source[:8192])) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x" * 1_000_000, "1,000,000 characters"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "brackets"),
        ("{% if row.a %}" * 500 + "{% endif %}" * 500, "nested too deeply"),
        ("{{ 1 }}" * 20_000, "parts"),
        ("{{ " + "-" * 5000 + "1 }}", "nested too deeply"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_template_without_measure_gives_a_clear_mistake(source: str, words: str) -> None:
    (mistake,) = template_mistakes(source)

    assert words in mistake


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(1000) %}" * 3 + "x" + "{% endfor %}" * 3,
        "{% for a in range(10000) %}{% for b in range(10000) if b < 0 %}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{% for b in row.text %}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{{ row.text|upper|lower|title|replace('x', 'y') }}{% endfor %}",
        "{% for a in range(10000) %}{% set y = row.text == row.text|lower %}{% endfor %}" * 9,
        "{% set a = [1, row.n] %}" + "{% set a = [a, a, a, a, a, a, a, a, a, a] %}" * 30 + "{{ a }}",
        "{% set a = row.text %}" + "{% set a = a ~ a %}" * 60,
        "{% set a = row.text %}" + "{% set a = a + a %}" * 60,
        "{% set a = row.tags %}" + "{% set a = a + a %}" * 60,
        "{% set a = row.text|replace('', row.text)|replace('', row.text) %}",
        "{% set a = range(10000)|join(row.text) %}",
        "{{ range(100000) }}",
        "{{ range(0, 10, 0) }}",
        "{{ row.text|indent(100000) }}",
        "{% set a %}{% for i in range(9000) %}{{ row.text }}{% endfor %}{% endset %}",
        "{% for i in range(9000) %}{{ row.text }}{% endfor %}",
        "{% set a = [row.tags] %}" + "{% set a = [a] %}" * 2400 + "{{ a }}",
    ],
)
def test_a_render_that_would_run_away_ends_soon_with_the_rows_error(source: str) -> None:
    template = PromptTemplate.compile(source, where="prompt")
    began_s = time.monotonic()

    with pytest.raises(ExpressionError):
        template.render(ROW)

    assert time.monotonic() - began_s < QUICK_S


def test_a_trim_of_a_long_text_by_many_characters_is_refused() -> None:
    expression = Expression.compile("row.text|trim(row.text)", where="set")

    with pytest.raises(ExpressionError, match="100 characters"):
        expression.value(ROW)


def test_a_render_past_its_time_ends_even_within_its_steps() -> None:
    template = PromptTemplate.compile("{% for a in range(9000) %}{{ a }}{% endfor %}", where="prompt")

    with pytest.raises(ExpressionError, match="longer than 10 seconds"):
        template.render(ROW, clock=JumpingClock())


def test_a_private_name_that_is_computed_is_refused_too() -> None:
    expression = Expression.compile("row['_' ~ '_class__']", where="gate")

    with pytest.raises(ExpressionError, match="underscore"):
        expression.value(ROW)


@pytest.mark.parametrize(
    "source", ["row.text * 9999", "row.n * row.text", "row.tags * row.n", "row.text % row.n"]
)
def test_repeating_and_formatting_are_refused_for_values_too(source: str) -> None:
    expression = Expression.compile(source, where="gate")

    with pytest.raises(ExpressionError, match="does not work between"):
        expression.value(ROW)


def test_a_row_that_is_itself_too_large_to_print_is_its_own_error() -> None:
    template = PromptTemplate.compile("{{ row|tojson }}", where="prompt")

    with pytest.raises(ExpressionError, match="too large"):
        template.render({"text": "x" * (TEXT_CHARS_MAX + 1)})


def test_text_in_a_row_is_never_read_as_a_template() -> None:
    template = PromptTemplate.compile("{{ row.text }}", where="prompt")

    rendered = template.render({"text": "{{ row.secret }}{% for a in b %}"})

    assert rendered.text == "{{ row.secret }}{% for a in b %}"


def test_the_source_cannot_change_the_row() -> None:
    row = copy.deepcopy(ROW)
    template = PromptTemplate.compile(
        "{% set t = row.tags %}{% set t = t + ['c'] %}{{ t }}{{ t|reverse }}{{ row.tags|sort(reverse=true) }}",
        where="prompt",
    )

    template.render(row)

    assert row == ROW
