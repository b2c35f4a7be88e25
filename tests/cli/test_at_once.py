"""Several commands at the same moment: none trips over what another one makes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from elspeth_dagster.orchestration import launch

AT_ONCE = 4
WAIT_S = 60


def test_a_dagster_home_that_several_commands_begin_at_once_is_made_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    start = Barrier(AT_ONCE, timeout=WAIT_S)

    def begin(_: int) -> int:
        start.wait()
        with launch.dagster_instance(home) as instance:
            start.wait()  # nobody takes the variable away while another still opens
            return instance.get_runs_count()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(begin, range(AT_ONCE))) == [0] * AT_ONCE
