"""`purge` says what it would erase, asks, erases it, and every other command knows that it did."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest

from elspeth_dagster.cli import purge as purge_command
from elspeth_dagster.cli import resume
from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape import Landscape
from tests.cli.conftest import Finished, InProcess, Said
from tests.cli.tampering import copy_of
from tests.support import Project


class _NextYear:
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(days=365)


class _Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def old(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The finished run, a year later."""
    monkeypatch.setattr(purge_command, "SystemClock", _NextYear)
    (tmp_path / "workspace.yaml").touch()
    return copy_of(finished.project, tmp_path)


def _purge(cli: InProcess, project: Project, *words: str) -> Said:
    return cli(project.folder, "purge", *words, "--landscape", project.landscape_url)


def _bodies(project: Project) -> int:
    return int(project.query("SELECT count(*) FROM payloads")[0][0])


def test_a_dry_run_erases_nothing(cli: InProcess, old: Project, finished: Finished) -> None:
    before = _bodies(old)
    said = _purge(cli, old, "--older-than", "180d", "--dry-run")
    assert said.status == 0
    assert (
        f"1 run ended before 20{said.text.partition('before 20')[2][:17]} UTC: {before} bodies" in said.text
    )
    assert finished.key in said.out
    assert _bodies(old) == before
    assert max(map(len, said.out.splitlines())) <= 80


def test_purged_runs_verify_clean_and_explain_says_when(
    cli: InProcess, old: Project, finished: Finished
) -> None:
    document = json.loads(_purge(cli, old, "--older-than", "4w", "--yes", "--json").out)
    assert document["is_done"]
    assert document["bodies"] > 0
    assert _bodies(old) == 0
    day = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=365):%Y-%m-%d}"
    story = cli(old.folder, "explain", finished.key, "--row", "3", "--landscape", old.landscape_url)
    assert f"its values were purged on {day}" in story.text
    assert f"purged on {day}: only its hash is left" in story.text
    verified = cli(old.folder, "verify", finished.key, "--landscape", old.landscape_url)
    assert verified.status == 0
    assert f"bodies were purged on {day}" in verified.text


def test_a_purged_run_is_not_resumed(cli: InProcess, old: Project, finished: Finished) -> None:
    with Landscape.open(old.landscape_url) as landscape:
        run = landscape.run(finished.key)
        resume._refuse_purged(landscape.database, run)
        _purge(cli, old, "--older-than", "4w", "--yes")
        with pytest.raises(LaunchError, match="cannot go on: its rows were purged on"):
            resume._refuse_purged(landscape.database, run)


def test_nothing_old_enough_says_so(cli: InProcess, old: Project) -> None:
    said = _purge(cli, old, "--older-than", "500d", "--yes")
    assert said.status == 0
    assert "No run that ended before" in said.out


def test_without_anybody_to_ask_it_wants_yes(cli: InProcess, old: Project) -> None:
    before = _bodies(old)
    said = _purge(cli, old, "--older-than", "180d")
    assert said.status == 2
    assert "look with --dry-run, then say --yes" in said.err
    assert _bodies(old) == before


@pytest.mark.parametrize(("answer", "is_erased"), [("n\n", False), ("\n", False), ("", False), ("y\n", True)])
def test_a_person_is_asked(
    cli: InProcess, old: Project, monkeypatch: pytest.MonkeyPatch, answer: str, *, is_erased: bool
) -> None:
    monkeypatch.setattr("sys.stdin", _Keyboard(answer))
    said = _purge(cli, old, "--older-than", "180d")
    assert (said.status == 0) == is_erased
    assert (_bodies(old) == 0) == is_erased


def test_vacuum_says_how_much_smaller_the_file_is(cli: InProcess, old: Project) -> None:
    said = _purge(cli, old, "--older-than", "180d", "--yes", "--vacuum")
    assert "bytes and takes" in said.text
    again = _purge(cli, old, "--older-than", "180d", "--vacuum")
    assert (again.status, "bytes and takes" in again.text) == (0, True)


@pytest.mark.parametrize(
    "age", ["", "180", "d", "0d", "-5d", "1.5d", "180 days", "5m", "1y", "999999w", "٣d"]
)
def test_what_is_no_age_is_refused(cli: InProcess, old: Project, age: str) -> None:
    said = _purge(cli, old, f"--older-than={age}", "--yes")
    assert said.status == 2
    assert "is not an age" in said.err
    assert "12h, 180d or 4w" in said.err
