"""What the documents name is there: tests, files, commands, make targets, decisions."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from elspeth_dagster.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))

_NAMED_TEST = re.compile(r"`(tests/[\w/.]*)(?:::(\w+))?`")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)?(?:#([^)\s]+))?\)")
_COMMAND = re.compile(r"(?:^(?:\$ )?|`)elspeth-dagster ([a-z-]+)([^`#\n]*)", re.MULTILINE)
_OPTION = re.compile(r"--[a-z][a-z-]*")
_TARGET = re.compile(r"^make ([a-z-]+)|`make ([a-z-]+)`", re.MULTILINE)


def _named_tests() -> list[tuple[str, str]]:
    return [
        (path, name)
        for document in DOCUMENTS
        for path, name in _NAMED_TEST.findall(document.read_text("utf-8"))
    ]


@cache
def _functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def test_every_promise_names_its_guard() -> None:
    promises = (ROOT / "docs/promises.md").read_text("utf-8").splitlines()
    rows = [line for line in promises if line.startswith("| ") and not line.startswith("| promise |")]
    assert len(rows) > 50
    assert [row for row in rows if not _NAMED_TEST.search(row)] == []


def test_every_test_that_is_named_is_there() -> None:
    named = _named_tests()
    missing = [f"{path}::{name}" for path, name in named if not (ROOT / path).exists()]
    missing += [
        f"{path}::{name}"
        for path, name in named
        if name and (ROOT / path).is_file() and name not in _functions(ROOT / path)
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in _LINK.findall(document.read_text("utf-8")):
        there = (document.parent / target) if target else document
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there), f"{target}#{anchor}"


def _anchors(document: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_that_is_named_takes_the_options_that_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for command, rest in _COMMAND.findall(document.read_text("utf-8")):
            named.setdefault(command, set()).update(_OPTION.findall(rest))
    assert len(named) > 8
    assert named.keys() - COMMANDS.keys() == set()
    for command, options in named.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert options - set(_OPTION.findall(capsys.readouterr().out)) == set(), command


def test_every_make_target_that_is_named_is_there() -> None:
    text = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)
    named = {one or other for one, other in _TARGET.findall(text)}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert len(named) > 3
    assert named - targets == set()


def test_decisions_have_a_number_each_and_say_it() -> None:
    numbers = [decision.name[:4] for decision in DECISIONS]
    assert len(set(numbers)) == len(numbers)
    titles = [decision.read_text("utf-8").splitlines()[0] for decision in DECISIONS]
    assert [title.split(".")[0] for title in titles] == [f"# {int(number)}" for number in numbers]
