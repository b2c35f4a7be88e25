"""A declaration is checked before anything is run, and every mistake is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import InProcess, declare, make_project
from tests.support import Project, mood_pipeline

URL = "http://127.0.0.1:1/v1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, URL)


def test_a_good_declaration_is_shown_as_a_graph(cli: InProcess, project: Project) -> None:
    said = cli(project.folder, "validate", "pipeline.yaml")
    assert said.status == 0
    assert "moods  valid  7 nodes" in said.out
    assert "judge  llm  takes source" in said.out
    assert "+ mood" in said.out
    assert "angry → angry  if row.mood == 'angry'" in said.out
    assert said.out.index("source  csv") < said.out.index("judge  llm") < said.out.index("triage  gate")


def test_forks_joins_and_collisions_are_shown(cli: InProcess, project: Project) -> None:
    declaration = mood_pipeline(URL)
    judge = declaration["steps"]["judge"]
    declaration["steps"] = {
        "views": {"kind": "fork", "from": "source", "branches": ["one", "two"]},
        "judge": {**judge, "from": "views.one"},
        "again": {**judge, "from": "views.two"},
        "joined": {"kind": "coalesce", "from": {"one": "judge", "two": "again"}, "timeout_seconds": 5},
        "triage": {**declaration["steps"]["triage"], "from": "joined"},
    }
    declare(project, declaration)
    run = cli(
        project.folder, "run", "pipeline.yaml", "--json"
    )  # nobody answers there: it says it all the same
    assert run.err.count("each make a field 'mood'") == 1
    assert run.err.startswith("note: 'joined': branches 'one' and 'two'")
    said = cli(project.folder, "validate", "pipeline.yaml")
    assert said.status == 0
    assert "    branches one → judge\n             two → again\n" in said.out
    assert "    joins    one, two of views; require_all within 5 s of the first, union\n" in said.out
    assert "note: 'joined': branches 'one' and 'two' each make a field 'mood'" in said.out


def test_every_mistake_is_told_with_its_file_and_line(cli: InProcess, project: Project) -> None:
    declaration = mood_pipeline(URL)
    declaration["steps"]["judge"]["from"] = "sauce"
    declaration["steps"]["triage"]["routes"] = {"angry": "row.mood =="}
    declaration["sinks"]["rest"]["from"] = "triage.later"
    declare(project, declaration)
    said = cli(project.folder, "validate", "pipeline.yaml")
    assert said.status == 2
    assert "There is no step 'sauce'. Did you mean 'source'?" in said.err
    assert "no port 'later'" in said.err
    assert said.err.count("pipeline.yaml:") >= 2


def test_a_key_that_is_not_set_is_a_note_while_validating(cli: InProcess, project: Project) -> None:
    declaration = mood_pipeline(URL)
    declaration["models"]["default"]["api_key_env"] = "SURELY_NOT_SET"
    declare(project, declaration)
    said = cli(project.folder, "validate", "pipeline.yaml")
    assert said.status == 0
    assert "note: The environment variable SURELY_NOT_SET is not set" in said.out
