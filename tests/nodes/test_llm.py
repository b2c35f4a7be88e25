"""`llm`: the question that a row becomes, and the row that its answer becomes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Columns, Emitted, Home
from elspeth_dagster.nodes.llm import PROMPT_BYTES_MAX, LlmConfig
from elspeth_dagster.nodes.llm_question import Asked, LlmQuestion

_SETTINGS = ModelSettings(model="m", api_key_env="KEY")


def _llm(**keys: JSON) -> LlmConfig:
    return LlmConfig.model_validate({"kind": "llm", "from": "source", **keys})


def _question(home: Home, **keys: JSON) -> LlmQuestion:
    return _llm(**keys).compile(home, _SETTINGS)


def _ask(question: LlmQuestion, row: Row) -> Asked | Rejected:
    """The step's only query."""
    (query,) = question.queries
    return question.ask(row, query, row_id="000000000")


def shown_prompt(body: Mapping[str, JSON]) -> str:
    messages = body["messages"]
    assert isinstance(messages, list)
    return "\n".join(f"{one['role']}: {one['content']}" for one in messages if isinstance(one, dict))


def _told(home: Home, columns: Columns, **keys: JSON) -> list[tuple[tuple[str | int, ...], str]]:
    return [(mistake.path, mistake.what) for mistake in _llm(**keys).mistakes(columns, home)]


def test_a_row_becomes_a_request(home: Home) -> None:
    question = _question(
        home, prompt="Judge {{ row.text }}.", system="In {{ row.lang }}.", answer={"mood": "str"}
    )

    asked = _ask(question, {"text": "this", "lang": "English", "unread": 1})

    assert isinstance(asked, Asked)
    assert shown_prompt(asked.body) == "system: In English.\nuser: Judge this."
    assert asked.body["model"] == "m"


def test_the_recorded_variables_are_those_of_both_templates(home: Home) -> None:
    question = _question(home, prompt="{{ row.text }}", system="{{ row.lang }}")

    asked = _ask(question, {"text": "this", "lang": "English", "unread": 1})

    assert isinstance(asked, Asked)
    assert asked.variables == {"row": {"text": "this", "lang": "English"}}


def test_the_recorded_template_is_both_templates(home: Home) -> None:
    row: dict[str, JSON] = {"text": "x"}
    asked = [
        _ask(_question(home, prompt=prompt, system=system), row)
        for prompt, system in (("{{ row.text }}", None), ("{{ row.text }}", "Hi"), ("{{ row.text }}!", "Hi"))
    ]

    hashes = {one.template_hash for one in asked if isinstance(one, Asked)}
    assert len(hashes) == 3


def test_lookups_are_at_hand_in_prompts(home: Home) -> None:
    question = _question(home, prompt="{{ lookup.names[row.code] }}", lookup={"names": {"NZ": "New Zealand"}})

    asked = _ask(question, {"code": "NZ"})

    assert isinstance(asked, Asked)
    assert shown_prompt(asked.body) == "user: New Zealand"
    assert isinstance(_ask(question, {"code": "XX"}), Rejected)


@pytest.mark.parametrize(
    "keys", [{"prompt": "{{ row.n + 1 }}"}, {"prompt": "x", "system": "{{ row.n + 1 }}"}]
)
def test_a_template_that_fails_on_a_row_is_the_rows_error(home: Home, keys: dict[str, JSON]) -> None:
    asked = _ask(_question(home, **keys), {"n": "text"})

    assert isinstance(asked, Rejected)
    assert asked.reason == "template_failed"


def test_the_answers_fields_come_behind_the_rows_own(home: Home) -> None:
    concluded = _question(home, prompt="x", answer={"mood": "str"}).conclude(
        {"id": 1}, {"answer": {"mood": "calm"}}
    )

    assert concluded == Emitted({"id": 1, "mood": "calm"})


def test_an_answer_never_overwrites_a_field(home: Home) -> None:
    concluded = _question(home, prompt="x", answer={"mood": "str"}).conclude(
        {"mood": "mine"}, {"answer": {"mood": "calm"}}
    )

    assert isinstance(concluded, Rejected)
    assert (concluded.reason, concluded.facts) == ("field_exists", {"field": "mood"})


def test_a_prompt_may_stand_in_a_file(home: Home) -> None:
    (home.base / "ask.txt").write_text("Judge {{ row.text }}", "utf-8")

    asked = _ask(_question(home, prompt_file="ask.txt"), {"text": "this"})

    assert isinstance(asked, Asked)
    assert shown_prompt(asked.body) == "user: Judge this"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff\xfe", "cannot be read: it is not UTF-8 text."),
        (b"x" * (PROMPT_BYTES_MAX + 1), "is longer than"),
        (b"  \n", "The text is empty."),
        (b"ok\n{{ row.txt }}", "ask.txt, line 2: Field 'txt' does not reach this prompt."),
    ],
)
def test_a_prompts_file_that_cannot_be_used_is_a_mistake(
    home: Home, content: bytes | None, what: str
) -> None:
    if content is not None:
        (home.base / "ask.txt").write_bytes(content)

    ((path, told),) = _told(home, ("text",), prompt_file="ask.txt")

    assert path == ("prompt_file",)
    assert what in told
    assert str(home.base) not in told


def test_a_prompts_file_that_is_a_folder_is_a_mistake(home: Home) -> None:
    (home.base / "ask.txt").mkdir()

    assert [path for path, _ in _told(home, None, prompt_file="ask.txt")] == [("prompt_file",)]


def test_every_mistake_of_an_answer_has_its_field(home: Home) -> None:
    told = _told(
        home,
        ("text",),
        prompt="x",
        answer={"a": "int", "b": "txt", "c": {"type": "int", "minimum": "x"}, "text": "str"},
    )

    assert [path for path, _ in told] == [("answer", "b"), ("answer", "c"), ("answer", "text")]
    assert told[1][1] == "Minimum is a number."


def test_a_prompt_is_given_once(home: Home) -> None:
    assert [path for path, _ in _told(home, None)] == [()]
    assert [path for path, _ in _told(home, None, prompt="x", prompt_file="y")] == [("prompt_file",)]


def test_columns_behind_it_are_the_rows_own_and_the_answers() -> None:
    assert _llm(prompt="x", answer={"mood": "str"}).columns_out(("a",)) == ("a", "mood")
    assert _llm(prompt="x").columns_out(("a",)) == ("a", "answer")
    assert _llm(prompt="x").columns_out(None) is None
