"""Rendering prompts: as Jinja does where both can, and the same every time."""

from __future__ import annotations

import copy
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import PromptTemplate
from elspeth_dagster.model.row import JSON, Row

JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
ROW: Row = {
    "text": "It's a (small) STEP, for\none-man  ",
    "n": 7,
    "f": 2.5,
    "yes": True,
    "nothing": None,
    "tags": ["b", "A", "c", "a"],
    "numbers": [3, 1, 2, 2],
    "people": [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 25}],
    "address": {"city": "Bonn", "lines": ["x", "y"]},
}

TEMPLATES = [
    "plain text\n\n",
    "{{ row.text }}|{{ row.n }}|{{ row.f }}|{{ row.yes }}|{{ row.nothing }}|{{ row.tags }}|{{ row.address }}",
    "{% for p in row.people %}{{ loop.index }}/{{ loop.length }}{{ p.age }}{{ 0 if loop.last else '.' }}{% endfor %}",
    "{% for x in row.numbers if x > 1 %}{{ x }}:{{ loop.index0 }}:{{ loop.revindex }}:{{ loop.first }} {% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in row.tags %}{{ loop.previtem|default('-') }}{{ x }}{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for p in row.people %}{% for c in p.name %}{{ loop.index }}{{ c }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% set x = 1 %}{% for t in row.tags %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
    "{% if row.n > 9 %}a{% elif row.n > 5 %}b{% else %}c{% endif %}{% if not row.yes %}d{% endif %}",
    "{% if row.yes %}{% set y = 'set' %}{% endif %}{{ y }}",
    "{% set a, b = row.numbers[:2] %}{{ a - b }}",
    "{% set block %}[{{ row.n }}]{% endset %}{{ block ~ block }}",
    "{%- for t in row.tags -%}  {{ t }}  {%- endfor %}  {# a comment #}end",
    "{% raw %}{{ not read }}{% endraw %}",
    "{% for k, v in row.address|items %}{{ k }}={{ v }};{% endfor %}",
    "{{ row.text|upper }}{{ row.text|lower }}{{ row.text|capitalize }}{{ row.text|title }}{{ row.text|trim }}",
    "{{ row.text|wordcount }}{{ row.text|length }}{{ row.text|replace('a', '4') }}{{ row.text|replace('e', '', 1) }}",
    "{{ row.text|truncate(12) }}{{ row.text|truncate(12, true, '!') }}{{ row.text|truncate(99) }}",
    "{{ row.text|indent(3) }}{{ row.text|indent(2, true) }}{{ row.text|reverse }}",
    "{{ row.tags|join }}{{ row.tags|join(', ') }}{{ row.people|join('/', attribute='name') }}",
    "{{ row.tags|sort|join }}{{ row.tags|sort(true)|join }}{{ row.tags|sort(case_sensitive=true)|join }}",
    "{{ row.people|sort(attribute='age')|map(attribute='name')|join(',') }}",
    "{{ row.tags|unique|join }}{{ row.numbers|unique|join }}{{ row.tags|first }}{{ row.tags|last }}",
    "{{ row.numbers|sum }}{{ row.people|sum(attribute='age') }}{{ row.numbers|min }}{{ row.numbers|max }}",
    "{{ row.tags|map('upper')|join }}{{ row.people|map(attribute='none', default='?')|join }}",
    "{{ row.numbers|select('odd')|list }}{{ row.numbers|reject('gt', 2)|list }}{{ [0, 1, '']|select|list }}",
    "{{ row.people|selectattr('age', 'ge', 30)|map(attribute='name')|join }}{{ row.people|rejectattr('age')|list }}",
    "{{ row.people|selectattr('none', 'defined')|list }}{{ row.tags|reverse|list }}{{ 'abc'|list }}",
    "{{ 2.567|round(1) }}{{ 7|round }}{{ 2.1|round(0, 'ceil') }}{{ 2.9|round(method='floor')|int }}{{ -3|abs }}",
    "{{ '42'|int }}{{ '4.9'|int }}{{ 'x'|int(-1) }}{{ '2.5'|float }}{{ 'x'|float(0.5) }}{{ 3|string ~ 4 }}",
    "{{ row.none|default('d') }}{{ row.nothing|d('d', true) }}{{ row.n|default('d') }}",
    "{{ row.n is odd }}{{ row.n is divisibleby(7) }}{{ row.n is even }}{{ 'A' is upper }}{{ 'a' is lower }}",
    "{{ row.address is mapping }}{{ row.n is integer }}{{ row.f is float }}{{ row.yes is true }}{{ 3 is in [3] }}",
    "{{ row.text.split()|join('_') }}{{ row.text.strip().upper() }}{{ row.text.startswith('It') }}",
    "{{ ','.join(row.tags) }}",
    "{{ row.text.splitlines() }}{{ ' a '.lstrip() }}{{ ' a '.rstrip() }}{{ 'ab'.endswith('b') }}",
    "{{ 'x'.replace('x', 'y') }}",
    "{{ row.address|first }}{{ row.tags|map('first')|join }}{{ [[1, 2], [3]]|map(attribute=0)|join }}{{ +row.n }}",
    "{{ row.people|map(attribute='address.city', default='?')|join }}{{ [row.people]|map(attribute='0.name')|join }}",
    "{{ [[1], [2]] == [[1], [2]] }}{{ [2] in [[1], [2]] }}{{ [1, 2] < [1, 3] }}{{ row.n in [row.n, 2] }}",
    "{{ row.numbers|tojson }}{{ row.people|tojson }}",
    "{{ row.numbers[1:3] }}{{ row.text[-5:] }}{{ row.text[2] }}{{ row.people[0]['name'] }}{{ 'a' 'b' }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' not in row.tags }}{{ 'ma' in row.text }}{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}",
]  # fmt: skip


def _ours(source: str, row: Row) -> str:
    return PromptTemplate.compile(source, where="prompt").render(row).text


@pytest.mark.parametrize("source", TEMPLATES)
def test_a_template_renders_as_jinja_renders_it(source: str) -> None:
    assert _ours(source, ROW) == JINJA.from_string(source).render(row=ROW)


def test_json_is_written_plain() -> None:
    assert (
        _ours("{{ row|tojson }}", {"b": "<ü>'", "a": [1, None, True]})
        == '{"a": [1, null, true], "b": "<ü>\'"}'
    )


def test_a_number_is_never_made_up() -> None:
    with pytest.raises(ExpressionError, match="no whole number"):
        _ours("{{ 'many'|int }}", {})


def test_an_error_names_the_line_it_happened_in() -> None:
    template = PromptTemplate.compile(
        "One\n{% if true %}\n{{ row.a }}\n  {{ row.b }}{% endif %}", where="step 'score'"
    )

    with pytest.raises(ExpressionError) as failed:
        template.render({"a": 1})

    assert failed.value.where == "step 'score', line 4"


def test_a_name_set_in_one_branch_only_is_an_error_where_it_was_not_set() -> None:
    source = "{% if row.yes %}{% set y = 1 %}{% endif %}{{ y }}"

    with pytest.raises(ExpressionError, match="'y' has no value here"):
        _ours(source, {"yes": False})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for a, b in [[1, 2, 3]] %}{% endfor %}", "a, b need a list of 2 items, not 3 items."),
        ("{% set a, b = 5 %}", "not a int"),
        ("{% for a in 5 %}{% endfor %}", "Cannot loop over a value of type int."),
        ("{{ 'abcdef'|truncate(2) }}", "no room for its end"),
        ("{{ [[1]]|unique }}", "compares texts and numbers"),
        ("{{ 1|round(16) }}", "at most 15 decimals"),
        ("{{ 1|round(1, 'up') }}", "not 'up'"),
        ("{{ 5|items }}", "needs an object"),
        ("{{ 5|join }}", "Cannot join the items of"),
        ("{{ [{}]|map(attribute='a') }}", "no field 'a'"),
        ("{{ ['a']|sum }}", "needs numbers"),
        ("{{ 1 is divisibleby(0) }}", "divisible by 0"),
        ("{{ 'a'|abs }}", "needs a number"),
        ("{{ 'a'.split(1) }}", "needs a text"),
        ("{{ 'a'[::0] }}", "steps of 0"),
        ("{{ 'a'['b':] }}", "whole numbers"),
        ("{{ range('a') }}", "whole numbers"),
        ("{{ -'a' }}", "has no negative"),
        ("{{ +'a' }}", "is no number"),
        ("{{ 5|first }}", "Cannot take the first of"),
        ("{{ 'x'|float }}", "no finite number"),
        ("{{ 'a'|indent(1.5) }}", "must be a whole number from 0"),
        ("{{ [[]]|map('first') }}", "the filter gave nothing"),
        ("{{ [{}]|selectattr('a', 'odd')|list }}", "no field 'a'"),
        ("{{ 'a' is odd }}", "Only whole numbers"),
        ("{{ [1]|sort(attribute=1.5) }}", "named by a short text"),
        ("{{ [1]|sort(attribute='a.b') }}", "has no item 'a.b'"),
    ],
)
def test_a_value_that_does_not_fit_is_the_rows_error(source: str, words: str) -> None:
    with pytest.raises(ExpressionError) as failed:
        _ours(source, {})

    assert words in failed.value.what


def test_lookups_are_those_of_the_time_it_was_compiled() -> None:
    codes: dict[str, JSON] = {"codes": {"NZ": "New Zealand"}}
    template = PromptTemplate.compile("{{ lookup.codes[row.code] }}", where="prompt", lookups=codes)

    codes["codes"] = {}

    assert template.render({"code": "NZ"}).text == "New Zealand"


def test_a_template_is_known_by_the_hash_of_its_source() -> None:
    source = "{{ row.text }} ü"

    assert PromptTemplate.compile(source, where="a").template_hash == hashlib.sha256(source.encode()).digest()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
)
VALUES: st.SearchStrategy[JSON] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["row.a", "row.b", "row.c", "row.a.x", "row.b[0]", "row", "[row.a, row.b]", "1", "'t'"]
)
FILTERS = st.sampled_from(
    ["", "|upper", "|sort", "|join(',')", "|tojson", "|list|last", "|length", "|default(0)", "|unique"]
)
OPERATORS = st.sampled_from([" + ", " ~ ", " == ", " < ", " in ", " and ", " * ", " % ", " // "])
OPERANDS = st.builds("{}{}".format, FIELDS, FILTERS)
EXPRESSIONS = st.builds("{}{}{}".format, OPERANDS, OPERATORS, OPERANDS)
SOURCES = st.builds("{{% for x in {} %}}{{{{ x }}}}{{% endfor %}}{{{{ {} }}}}".format, OPERANDS, EXPRESSIONS)


@given(source=SOURCES, row=st.fixed_dictionaries({"a": VALUES, "b": VALUES}))
def test_rendering_is_repeatable_ends_in_text_or_the_rows_error_and_changes_no_row(
    source: str, row: Row
) -> None:
    template, before = PromptTemplate.compile(source, where="prompt"), copy.deepcopy(row)

    results = []
    for _ in range(2):
        try:
            results.append(template.render(row).text)
        except ExpressionError as error:
            results.append(str(error))

    assert results[0] == results[1]
    assert repr(row) == repr(before)


@given(source=st.text(alphabet="{}%()[]|.'\"_ \nabrowifenset=+*~1,:", max_size=60))
def test_any_source_at_all_either_compiles_or_is_refused(source: str) -> None:
    try:
        text = PromptTemplate.compile(source, where="prompt").render({"a": 1}).text
    except ExpressionError as error:
        text = str(error)

    assert isinstance(text, str)
