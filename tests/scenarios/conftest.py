"""A project on either database, and what `verify` says of its only run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from tests.postgres import Postgres
from tests.support import Project, write_csv


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A folder with sixty rows, on either database."""
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(60)])
    if request.param == "sqlite":
        yield Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.ready()
    yield Project(tmp_path, url)
    server.take_back(url)


def findings(project: Project) -> list[str]:
    """What does not hold in the project's runs."""
    database = Database(project.landscape_url)
    try:
        reports = [
            verify_run(database, find_run(database, run_id), now=SystemClock().now())
            for (run_id,) in project.query("SELECT run_id FROM runs")
        ]
        checks = [check for report in reports for check in report.checks]
        assert checks, "there is no run"
        return [f"{one.table} {one.key}: {one.what}" for check in checks for one in check.findings]
    finally:
        database.dispose()
