"""Every command that reads works for a PostgreSQL role that may only SELECT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from elspeth_dagster.cli.main import main
from tests.postgres import Postgres
from tests.support import Project, write_csv

ROLE = "auditor_who_may_only_read"


@pytest.fixture
def read_only_url(postgres: Postgres, tmp_path: Path) -> Iterator[str]:
    """A Landscape with one finished run, as a role sees it that was given SELECT and nothing else."""
    url = postgres.empty()
    write_csv(tmp_path / "in.csv", ["id"], [[0], ["x"], [2]])
    project = Project(tmp_path, url)
    project.declare(
        {
            "name": "read",
            "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}, "on_invalid": "bad"},
            "steps": {"more": {"kind": "map", "from": "source", "set": {"more": "row.id + 1"}}},
            "sinks": {
                "out": {"kind": "csv", "from": "more", "path": "out.csv"},
                "bad": {"kind": "jsonl", "path": "bad.jsonl"},
            },
        }
    )
    assert project.run().success
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {ROLE} LOGIN")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    yield make_url(url).set(username=ROLE).render_as_string(hide_password=False)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute(f"DROP OWNED BY {ROLE}")
        owner.execute(f"DROP ROLE {ROLE}")
    postgres.drop(url)


def test_who_may_only_select_can_read_everything(
    read_only_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("ELSPETH_LANDSCAPE_URL", read_only_url)
    assert main(["runs", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["runs"]
    key = listed["run"]["run_key"]

    for words in (
        ["runs"],
        ["show", key],
        ["explain", key, "--row", "0"],
        ["failures", key],
        ["verify", key],
        ["db", "check"],
        ["export", key, "--out", str(tmp_path / "exported")],
        ["purge", "--older-than", "1h", "--dry-run"],
    ):
        assert main(words) == 0, (words, capsys.readouterr().err)
    assert "Everything holds." in capsys.readouterr().out
    assert (tmp_path / "exported" / "manifest.json").is_file()

    monkeypatch.chdir(tmp_path)
    assert main(["run", str(tmp_path / "pipeline_1.yaml")]) != 0
    assert "permission denied" in "".join(capsys.readouterr())
