"""Whatever stands in a declaration, and wherever: it loads, or every mistake has its place. Never a traceback."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._utils.schedules import is_valid_cron_string

from elspeth_dagster import LandscapeResource, build_definitions
from elspeth_dagster.errors import DeclarationError, LaunchError
from elspeth_dagster.pipeline import load_pipeline, pipeline_from
from elspeth_dagster.pipeline.cron import cron_mistake
from tests.pipeline.conftest import GOOD, Mistakes

MESSAGE_CHARS_MAX = 1_500

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        "x: &x [*x]\n",
        "x: *nowhere\n",
        "x: " + "[" * 50_000 + "]" * 50_000,
        "x" * 900_000 + ": 1\n",
        f"name: {'x' * 900_000}\n",
        "x: !!python/object/apply:os.system ['true']\n",
        "x: !!bool perhaps\n",
        f"x: !!int {'z' * 5_000}\n",
        f"x: {'9' * 10_000}\n",
        "x: .nan\n",
        'x: "\\ud800"\n',
        "<<: 3\n",
        "? [a]\n: 1\n",
        "yes: 1\n",
        "name: twice\n",
        "---\nname: another\n",
        "\tx: 1\n",
    ],
    ids=lambda document: repr(document[:20]),
)
def test_a_hostile_document_is_refused_with_a_short_message_and_its_place(
    tmp_path: Path, document: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(GOOD + document, "utf-8")

    with pytest.raises(DeclarationError) as refused:
        load_pipeline(file)

    assert refused.value.mistakes
    for mistake in refused.value.mistakes:
        assert mistake.startswith("p.yaml:")
        assert len(mistake) < MESSAGE_CHARS_MAX


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schedule", "99 6 * * *", "The minute '99' of the schedule is not within 0 to 59."),
        ("schedule", "*/0 6 * * *", "The minute '*/0'"),
        ("schedule", "0 6 31 2 *", "There is no 31 February"),
        ("schedule", "@reboot", "'@reboot' is none of @hourly,"),
        ("dagster", {"automation": "0 24 * * *"}, "The hour '24' of the schedule is not within 0 to 23."),
        ("dagster", {"tags": {"a b": "c"}}, "The tag 'a b' must be"),
        ("dagster", {"tags": {"a": "c/d"}}, "The tag 'c/d' must be"),
        ("dagster", {"tags": {"": "c"}}, "The tag '' must be"),
        ("dagster", {"pool": "two words"}, "The pool 'two words' must be a name without blanks."),
        (
            "dagster",
            {"pools": {"default": "two words"}},
            "The pool 'two words' must be a name without blanks.",
        ),
        ("dagster", {"pools": {"defualt": "x"}}, "No step calls a model 'defualt'. Did you mean 'default'?"),
        (
            "execution",
            {"config": {"broker": "redis://:hush@host/0"}},
            "execution.config.broker: The address holds",
        ),
        (
            "execution",
            {"config": {"a": [{"b": "amqp://me:hush@host//"}]}},
            "config.a.0.b: The address holds a password",
        ),
        ("dagster", {"freshness": 1e300}, "less than or equal to"),
    ],
)
def test_what_dagster_would_refuse_later_is_refused_with_its_line(
    mistakes: Mistakes, key: str, value: object, said: str
) -> None:
    (mistake,) = mistakes(GOOD + yaml.safe_dump({key: value}))

    assert int(mistake.split(":")[1]) > len(GOOD.splitlines())
    assert said in mistake


@pytest.mark.parametrize("name", ["", "two words", "a-b", "é", "x" * 1_000])
def test_a_model_that_no_resource_can_be_called_is_refused(mistakes: Mistakes, name: str) -> None:
    (mistake,) = mistakes(GOOD.replace("from: tidy", f'from: tidy\n    model: "{name}"'))

    assert "There is no model" in mistake
    assert len(mistake) < MESSAGE_CHARS_MAX


def test_a_cron_expression_that_is_let_through_is_one_to_dagster() -> None:
    draw = random.Random(4711)  # noqa: S311 - chooses cases
    ranges = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7))
    accepted = 0
    for _ in range(2_000):
        fields = []
        for first, last in ranges:
            number = draw.choice([first, last, draw.randint(0, 70)])
            end = draw.choice(["", "", f"-{draw.randint(first, last)}"])
            part = draw.choice(["*", f"{number}{end}", f"{first},{last}"])
            fields.append(part + draw.choice(["", "", f"/{draw.randint(0, last + 1)}"]))
        expression = " ".join(fields)
        if cron_mistake(expression) is None:
            accepted += 1
            assert is_valid_cron_string(expression), expression
    assert accepted > 200
    for usual in ("0 6 * * *", "*/5 22-4 * * mon-fri", "0 0 1 jan,JUL *", "@daily", "5/10 * * * 0-7"):
        assert cron_mistake(usual) is None


ODD: list[object] = [
    *(
        None,
        True,
        -1,
        3,
        2**60,
        1e308,
        float("nan"),
        b"x",
        [],
        [None],
        [[]],
        ["x", "x"],
        {},
        {"": ""},
        {"x": None},
    ),
    *(
        {"kind": "llm"},
        {1: 2},
        "",
        "x",
        " ",
        "\n",
        "é😀",
        "\0",
        "\ud800",
        "a" * 5_000,
        "{{",
        "{% for",
        "row.",
        "tri.",
    ),
    *(
        "__class__",
        "join:x",
        "..",
        "../x",
        "/etc/passwd",
        "*",
        "{partition}",
        "{0}",
        "%",
        "tidy",
        "99 99 * * *",
    ),
]
NAMES: list[object] = ["", "join:x", "3", "__class__", "items", "row", "source", "_error", "a.b", None, "id"]

MORE = """\
schedule: 0 6 * * *
execution: {executor: in_process, config: {}}
dagster:
  {group: g, owners: ["team:a"], tags: {a: b}, pool: p, automation: eager, retries: 1, freshness: 2.0,
   checks: {blocking: [balance], error_rate: {warn: 0.1, fail: 0.5}}}
steps:
  triage: {kind: gate, from: judge, otherwise: normal,
           routes: {urgent: row.urgency >= 4, low: row.id > 3, many: row.id > 9}}
  ex: {kind: expand, from: triage.urgent, field: tags}
  agg:
    {kind: aggregate, from: triage.low, trigger: {count: 3, timeout_seconds: 2.0, condition: batch_count > 2},
     group_by: [text], run: {kind: stats, fields: [id], group_by: [text]}}
  views: {kind: fork, from: triage.many, branches: [a, b]}
  words: {kind: keyword_filter, from: views.a, fields: [text], patterns: [abc]}
  cross:
    {kind: llm, from: views.b, case_studies: [{name: c1, input_fields: [text]}], lookup: {a: {b: 1}},
     criteria: [{name: k, description: d}], prompt: "{{ criterion.name }} {{ lookup.a.b }} {{ row.text }}",
     answer: {score: {type: int, minimum: 1}}, budget_tokens: 1000, reuse: true}
  joined:
    {kind: coalesce, from: {a: words, b: cross}, policy: quorum, quorum_count: 1, merge: union,
     on_collision: last_wins, timeout_seconds: 3.0}
"""
"""One of every kind, with every key that kinds have in common."""


def _rich() -> dict[str, Any]:
    made, more = yaml.safe_load(GOOD.replace("float?", "'float?'")), yaml.safe_load(MORE)
    made["source"]["columns"]["tags"] = "json"
    made["sinks"]["urgent"] |= {"from": ["ex", "agg", "joined"], "columns": ["id"]}
    return {**made, **more, "steps": {**made["steps"], **more["steps"]}}


RICH = _rich()


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _changed(path: tuple[Any, ...], change: str, value: object) -> dict[str, Any]:
    """The rich declaration with one value replaced or removed, or one key called otherwise."""
    made = copy.deepcopy(RICH)
    around: Any = made
    for key in path[:-1]:
        around = around[key]
    if change == "put":
        around[path[-1]] = value
    elif change == "remove":
        del around[path[-1]]
    elif isinstance(around, dict):
        around[value] = around.pop(path[-1])
    return made


def _load_or_be_told(folder: Path, spec: dict[str, Any], *, also_definitions: bool) -> None:
    try:
        pipeline = pipeline_from(spec, base=folder, root=folder)
    except DeclarationError as error:
        mistakes = error.mistakes
        assert mistakes and all(len(mistake) < MESSAGE_CHARS_MAX for mistake in mistakes)  # noqa: PT018
        return
    if also_definitions and all(
        step.get("model", "default") in pipeline.head.models for step in spec["steps"].values()
    ):
        lacking: LaunchError | None = None
        try:
            build_definitions(pipeline, landscape=LandscapeResource(url="sqlite://"))
        except LaunchError as error:  # what only this deployment lacks, such as an executor's module
            lacking = error
        assert lacking is None or all([lacking.where, lacking.hint])


def test_the_rich_declaration_has_no_mistake(tmp_path: Path) -> None:
    assert len(pipeline_from(RICH, base=tmp_path, root=tmp_path).nodes) > 10


CHANGES = [
    (path, change, value)
    for path in _places(RICH)
    for change, values in (("put", ODD), ("remove", [None]), ("rename", NAMES))
    for value in values
]


def test_a_wrong_value_anywhere_is_a_mistake_with_its_place_or_harmless(tmp_path: Path) -> None:
    for path, change, value in random.Random(7).sample(CHANGES, 400):  # noqa: S311 - chooses cases
        _load_or_be_told(tmp_path, _changed(path, change, value), also_definitions=False)


@pytest.mark.long
def test_every_wrong_value_at_every_place(tmp_path: Path) -> None:
    for path, change, value in CHANGES:
        _load_or_be_told(tmp_path, _changed(path, change, value), also_definitions=True)
