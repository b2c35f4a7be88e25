"""`pool: {shared: true}`: processes that use one model on one Landscape never have more in flight than the limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project, mood_pipeline, write_csv

LIMIT = 8


def _project(folder: Path, name: str, base_url: str, landscape_url: str) -> Project:
    folder.mkdir()
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"{name} {index}"] for index in range(150)])
    project = Project(folder, landscape_url)
    pool: dict[str, Any] = {"pool_size": LIMIT, "shared": True}
    project.declare({**mood_pipeline(base_url, pool=pool), "name": name})
    return project


def test_two_processes_share_one_limit_and_both_finish(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'landscape.db'}"
    with FakeModelServer(FakeModelSettings(latency_ms=60)) as server:
        one = _project(tmp_path / "one", "one", server.base_url, url)
        other = _project(tmp_path / "other", "other", server.base_url, url)
        process = one.spawn("raise SystemExit(not project.run().success)")

        result = other.run()

        assert process.wait(timeout=100) == 0
        assert result.success
        stats = server.stats()
    assert stats.answered == 300
    assert stats.peak_in_flight <= LIMIT
    assert one.query("SELECT count(*) FROM pool_members") == [(0,)]
