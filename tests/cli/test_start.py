"""The command starts at once, and says in a few lines what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from elspeth_dagster.cli.main import COMMANDS, main
from tests.cli.conftest import InProcess

HEAVY = ("dagster", "openai", "pandas", "sqlalchemy", "alembic", "rich", "pydantic", "jinja2", "yaml")


def test_importing_the_command_loads_nothing_heavy() -> None:
    code = f"import sys, elspeth_dagster.cli.main\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--landscape" in capsys.readouterr().out


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)


def test_an_error_says_what_where_and_next_and_shows_no_traceback(cli: InProcess, tmp_path: Path) -> None:
    said = cli(tmp_path, "runs")
    assert said.status == 2
    assert said.out == ""
    what, where, hint = said.err.splitlines()
    assert what == "There is no Landscape here yet."
    assert where.startswith("  where: ")
    assert hint.startswith("  next:  run a pipeline first")
    assert not (tmp_path / ".elspeth").exists()  # looking for a Landscape makes none


def test_a_refusal_is_a_document_where_one_was_asked_for(cli: InProcess, tmp_path: Path) -> None:
    said = cli(tmp_path, "run", "nowhere.yaml", "--json")
    assert said.status == 2
    document = json.loads(said.out)
    assert document["exit_status"] == 2
    assert document["error"]["code"] == "declaration_invalid"
    assert "nowhere.yaml" in document["error"]["what"]


def test_debug_shows_the_traceback(cli: InProcess, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no Landscape here yet"):
        cli(tmp_path, "--debug", "runs")


def test_something_unforeseen_is_one_line_and_a_hint(
    cli: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path) -> None:
        raise ZeroDivisionError("a bug\nof ours")

    monkeypatch.setattr("elspeth_dagster.cli.validate.load_pipeline", broken)
    said = cli(tmp_path, "validate", "x.yaml")
    assert said.status == 1
    assert said.err.splitlines() == [
        "Unexpected ZeroDivisionError: a bug of ours",
        "  next: run again with --debug for the traceback",
    ]


def test_the_landscape_can_be_named_before_or_behind_the_command(cli: InProcess, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    before = cli(tmp_path, "--landscape", url, "runs")
    behind = cli(tmp_path, "runs", "--landscape", url)
    assert before.err == behind.err
    assert "other.db" in before.err


def test_an_unreadable_landscape_is_named_without_its_password(cli: InProcess, tmp_path: Path) -> None:
    said = cli(tmp_path, "runs", "--landscape", "postgresql://user:secret@127.0.0.1:1/audit")
    assert said.status == 2
    assert "secret" not in said.err
    assert "127.0.0.1" in said.err


def test_migrations_make_a_landscape_and_are_checked(cli: InProcess, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert cli(tmp_path, "db", "check", "--landscape", url).status == 2
    made = cli(tmp_path, "db", "upgrade", "--landscape", url)
    assert (made.status, "it was empty" in made.out) == (0, True)
    assert cli(tmp_path, "db", "check", "--landscape", url).status == 0
    again = cli(tmp_path, "db", "upgrade", "--landscape", url)
    assert "already" in again.out


@pytest.mark.parametrize(
    "words", [["run", "x.yaml", "--limit", "0"], ["run", "x.yaml", "--limit", "x"], ["run", "--nope"]]
)
def test_what_cannot_be_understood_is_a_document_too_where_one_is_asked_for(
    cli: InProcess, tmp_path: Path, words: list[str]
) -> None:
    plain, as_json = cli(tmp_path, *words), cli(tmp_path, *words, "--json")

    assert (plain.status, as_json.status) == (2, 2)
    assert (plain.out, "usage: elspeth-dagster run" in plain.err) == ("", True)
    document = json.loads(as_json.out)
    assert document["error"]["code"] == "usage"
    assert document["error"]["what"].startswith("elspeth-dagster run: error: ")
