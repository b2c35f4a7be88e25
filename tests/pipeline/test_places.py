"""Reading YAML: every value has its line, names stay names, and no file can exhaust the reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.pipeline.places import FILE_BYTES_MAX, Places, read_yaml

Read = Callable[[str], tuple[JSON, Places, list[Mistake]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reader(text: str) -> tuple[JSON, Places, list[Mistake]]:
        (tmp_path / "a.yaml").write_text(text, "utf-8")
        return read_yaml(tmp_path / "a.yaml")

    return reader


def _refusal(read: Read, text: str) -> str:
    with pytest.raises(DeclarationError) as raised:
        read(text)
    (mistake,) = raised.value.mistakes
    return mistake


def test_keys_items_and_nested_values_have_their_lines(read: Read) -> None:
    _, places, _ = read("a: 1\nb:\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n")

    assert places.line(("a",)) == 1
    assert places.line(("b",)) == 2
    assert places.line(("b", "c")) == 3
    assert places.line(("b", "c", 0)) == 4
    assert places.line(("b", "c", 1, "d")) == 5
    assert places.line(("b", "c", 1, "e")) == 6
    assert places.line(("b", "c", "missing", "deeper")) == 3


def test_a_place_is_shown_with_file_line_and_path(read: Read) -> None:
    _, places, _ = read("a:\n  b: 1\n")

    assert places.shown(("a", "b")) == "a.yaml:2: a.b"
    assert Places(None).shown(("a", "b")) == "a.b"
    assert Places(None).shown(("a", "b"), text_line=3) == "a.b, line 3"


def test_a_line_in_a_text_of_several_lines_is_the_files_line(read: Read) -> None:
    _, places, _ = read("a: 1\nprompt: |\n  one\n  two\n")

    assert places.shown(("prompt",), text_line=2) == "a.yaml:4: prompt"


def test_merged_keys_are_taken_with_the_lines_where_they_stand(read: Read) -> None:
    value, places, mistakes = read("base: &b\n  x: 1\n  y: 2\nmine:\n  <<: *b\n  y: 3\n")

    assert value == {"base": {"x": 1, "y": 2}, "mine": {"x": 1, "y": 3}}
    assert (places.line(("mine", "x")), places.line(("mine", "y"))) == (2, 6)
    assert mistakes == []


def test_the_first_of_several_merged_mappings_wins(read: Read) -> None:
    value, _, _ = read("a: &a {k: 1}\nb: &b {k: 2, l: 2}\nc:\n  <<: [*a, *b]\n")

    assert isinstance(value, dict)
    assert value["c"] == {"k": 1, "l": 2}


def test_keys_are_what_is_written(read: Read) -> None:
    value, _, mistakes = read("no: 1\nyes: 2\non: 3\n1: 4\nnull: 5\n2026-01-01: 6\n")

    assert value == {"no": 1, "yes": 2, "on": 3, "1": 4, "null": 5, "2026-01-01": 6}
    assert mistakes == []


def test_dates_and_times_stay_text_as_written(read: Read) -> None:
    value, _, _ = read("a: 2026-01-31\nb: 2026-01-31T10:00:00Z\nc: =\n")

    assert value == {"a": "2026-01-31", "b": "2026-01-31T10:00:00Z", "c": "="}


def test_a_key_written_twice_is_told_with_both_lines(read: Read) -> None:
    _, places, mistakes = read("a: 1\nb: 2\na: 3\n")

    assert [(places.shown(one.path), one.what) for one in mistakes] == [
        ("a.yaml:3: a", "The key 'a' is written twice: on line 1 too.")
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: !python/object:os.system x\n", "The tag '!python/object:os.system' is not offered."),
        ("a: !!set {x}\n", "The tag 'tag:yaml.org,2002:set' is not offered."),
        ("a: !!binary aGk=\n", "The tag 'tag:yaml.org,2002:binary' is not offered."),
        ("a: {[1]: 2}\n", "A key must be a name, not a list or a mapping."),
        ("a: {<<: 3}\n", "`<<` merges mappings, and nothing else."),
    ],
)
def test_what_is_no_plain_value_is_a_mistake_and_the_rest_is_read(read: Read, text: str, what: str) -> None:
    value, _, mistakes = read(f"{text}b: 1\n")

    assert [one.what for one in mistakes] == [what]
    assert isinstance(value, dict)
    assert value["b"] == 1


def test_a_number_with_too_many_digits_is_a_mistake(read: Read) -> None:
    _, _, mistakes = read(f"a: {'9' * 5000}\n")

    assert [one.path for one in mistakes] == [("a",)]


def test_text_that_is_no_yaml_is_refused_with_its_line(read: Read) -> None:
    assert _refusal(read, "a: 1\nb: [1, 2\nc: 3\n").startswith("a.yaml:3: ")
    assert _refusal(read, "a: 1\n---\nb: 2\n").startswith("a.yaml:2: ")
    assert _refusal(read, "a: 1\nb: \x01\n").startswith("a.yaml:2: ")


def test_billions_of_aliases_are_refused_at_once(read: Read) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    began_s = time.monotonic()

    assert "more than 100,000 values" in _refusal(read, "\n".join(lines))
    assert time.monotonic() - began_s < 10


def test_billions_of_merges_are_refused_at_once(read: Read) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]

    assert "more than 100,000 values" in _refusal(read, "\n".join(lines))


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n"])
def test_a_value_that_holds_itself_is_refused(read: Read, text: str) -> None:
    assert "nests" in _refusal(read, text)


def test_endless_nesting_is_refused(read: Read) -> None:
    assert "nests" in _refusal(read, "[" * 5000 + "]" * 5000)
    assert "nests" in _refusal(read, "[" * 80 + "]" * 80)


def test_a_file_too_large_is_refused_unread(read: Read) -> None:
    assert "too large" in _refusal(read, "#" * (FILE_BYTES_MAX + 1))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")

    for path, what in ((tmp_path / "none.yaml", "No such file"), (tmp_path / "b.yaml", "not UTF-8")):
        with pytest.raises(DeclarationError) as raised:
            read_yaml(path)
        assert what in raised.value.mistakes[0]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")

    assert read_yaml(tmp_path / "c.yaml")[0] == {"name": "x"}
