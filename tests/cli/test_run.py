"""`run` and `resume`: what is refused, what is told, and how each ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.cli.conftest import (
    COMMAND,
    DECLARATION,
    FILTERED_ROW,
    ROWS,
    Finished,
    InProcess,
    command,
    declare,
    make_project,
)
from tests.cli.tampering import copy_of, tamper
from tests.support import Project, mood_pipeline

WAIT_S_MAX = 60


# One whole run -------------------------------------------------------------------------------------------------------


def test_a_run_with_failed_rows_ends_with_3_and_prints_one_document(finished: Finished) -> None:
    assert finished.status == 3
    assert finished.stderr == ""
    document = finished.document
    assert document["exit_status"] == 3
    assert document["status"] == "completed_with_failures"
    assert document["rows_read"] == ROWS
    assert document["waiting"] == 0
    assert document["stopped"] == []


def test_the_document_says_where_every_row_went(finished: Finished) -> None:
    endings = {(one["outcome"], one["sink"]): one["count"] for one in finished.document["endings"]}
    assert endings["routed", "failures"] == 1
    assert endings["quarantined", "bad"] == 1
    assert endings["routed", "angry"] + endings["routed", "rest"] == ROWS - 2
    assert sum(endings.values()) == ROWS


def test_the_document_has_nodes_in_order_with_calls_tokens_and_cost(finished: Finished) -> None:
    nodes = {node["node_id"]: node for node in finished.document["nodes"]}
    assert next(iter(nodes)) == "source"
    assert {node["status"] for node in nodes.values()} == {"completed"}
    judge = nodes["judge"]
    assert (judge["rows_in"], judge["rows_out"], judge["rows_failed"]) == (ROWS - 1, ROWS - 2, 1)
    assert judge["pool"]["pool_size"] == 8
    assert judge["usage"]["answered"] == ROWS  # the refused row was asked twice
    assert judge["usage"]["cost_usd"] > 0
    assert judge["usage"]["unpriced_answers"] == 0


def test_the_attempt_is_closed_with_its_outcomes_and_who_launched_it(finished: Finished) -> None:
    (attempt,) = finished.document["attempts"]
    assert attempt["status"] == "completed_with_failures"
    assert attempt["counts"] == {"quarantined": 1, "routed": ROWS - 1}
    assert finished.document["run"]["launched_by"].startswith("user: ")


def test_the_project_keeps_its_landscape_and_dagsters_home(finished: Finished) -> None:
    home = finished.project.folder / ".elspeth"
    assert (home / "landscape.db").is_file()
    assert "telemetry" in (home / "dagster" / "dagster.yaml").read_text()
    assert list((home / "dagster" / "cli").iterdir()) == []  # a log of nothing is not kept


def test_a_finished_run_has_nothing_to_resume(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "resume", finished.key)
    assert said.status == 3
    assert f"Run {finished.key} is finished: there is nothing left to do." in said.text


def test_an_attempt_that_died_before_it_was_closed_is_closed_by_a_resume(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    copy = copy_of(finished.project, tmp_path)
    tamper(
        copy,
        "UPDATE run_attempts SET status = 'running', ended_at = NULL, record_hash = NULL, counts_json = NULL",
    )
    assert json.loads(_out(cli, finished, copy, "show"))["status"] == "completed_with_failures"
    said = cli(finished.project.folder, "resume", finished.key, "--landscape", copy.landscape_url)
    assert said.status == 3
    assert copy.query("SELECT status FROM run_attempts") == [("completed_with_failures",)]
    assert cli(finished.project.folder, "verify", finished.key, "--landscape", copy.landscape_url).status == 0


def _out(cli: InProcess, finished: Finished, copy: Project, name: str) -> str:
    return cli(finished.project.folder, name, finished.key, "--json", "--landscape", copy.landscape_url).out


def test_a_clean_run_ends_with_0_and_a_summary_for_people(cli: InProcess, tmp_path: Path) -> None:
    with FakeModelServer() as server:
        project = make_project(tmp_path, server.base_url)
        said = cli(tmp_path, "run", "pipeline.yaml", "--limit", "5")
        assert server.stats().requests == 5
    assert said.status == 0
    assert said.err == ""
    assert "completed in" in said.out
    assert "5  rows read" in said.out
    assert "5 answers" in said.out
    assert "no price declared" in said.out
    assert "elspeth-dagster verify " in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80
    assert len(project.csv("out/angry.csv")) + len(project.jsonl("out/rest.jsonl")) == 5


# Refused before anything is begun -------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, "http://127.0.0.1:1/v1")


def test_a_missing_key_refuses_the_run_before_it_begins(cli: InProcess, project: Project) -> None:
    declaration = mood_pipeline("http://127.0.0.1:1/v1")
    declaration["models"]["default"]["api_key_env"] = "SURELY_NOT_SET"
    declare(project, declaration)
    said = cli(project.folder, "run", "pipeline.yaml")
    assert said.status == 2
    assert "SURELY_NOT_SET is not set" in said.err
    assert not (project.folder / ".elspeth").exists()


def test_mistakes_in_the_declaration_refuse_the_run(cli: InProcess, project: Project) -> None:
    declare(project, {"name": "moods"})
    said = cli(project.folder, "run", "pipeline.yaml")
    assert said.status == 2
    assert "The key 'source' is missing." in said.err


def test_a_landscape_that_cannot_be_written_refuses_the_run(cli: InProcess, project: Project) -> None:
    said = cli(project.folder, "run", "pipeline.yaml", "--landscape", f"sqlite:///{project.folder}")
    assert said.status == 2
    assert "The Landscape cannot be used" in said.err
    assert not (project.folder / ".elspeth" / "dagster").exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(cli: InProcess, project: Project) -> None:
    other = project.folder / "other.db"
    other.write_bytes(b"not a database at all, but long enough to look like a file" * 20)
    before = other.read_bytes()
    said = cli(project.folder, "run", "pipeline.yaml", "--landscape", f"sqlite:///{other}")
    assert said.status == 2
    assert "no readable SQLite database" in said.err
    assert other.read_bytes() == before


def test_a_pipeline_without_partitions_takes_none(cli: InProcess, project: Project) -> None:
    said = cli(project.folder, "run", "pipeline.yaml", "--partition", "a")
    assert said.status == 2
    assert "no partitions" in said.err


@pytest.mark.parametrize("limit", ["0", "-3", "many"])
def test_a_limit_is_a_number_of_records(cli: InProcess, project: Project, limit: str) -> None:
    said = cli(project.folder, "run", "pipeline.yaml", "--limit", limit)
    assert said.status == 2
    assert f"give a number of records, at least 1, not '{limit}'" in said.err


# Stopped on the way --------------------------------------------------------------------------------------------------


def test_a_stopped_node_says_why_and_the_resume_finishes_the_run(cli: InProcess, tmp_path: Path) -> None:
    blocked = tmp_path / "out" / "angry.csv"
    with FakeModelServer() as server:
        make_project(tmp_path, server.base_url)
        blocked.mkdir(parents=True)
        first = cli(tmp_path, "run", "pipeline.yaml")
        key = first.out.split("elspeth-dagster resume ")[1].split()[0]
        asked = server.stats().requests
        blocked.rmdir()
        second = cli(tmp_path, "resume", key)
        assert server.stats().requests == asked
    assert first.status == 1
    assert "angry stopped: " in first.out
    assert "Traceback" not in first.out + first.err
    assert "waiting" in first.out
    assert second.status == 0
    assert "2 attempts" in second.out
    assert blocked.is_file()
    assert cli(tmp_path, "verify", key).status == 0


def test_a_model_that_is_down_stops_the_node_and_loses_no_row(cli: InProcess, project: Project) -> None:
    said = cli(project.folder, "run", "pipeline.yaml", "--json")
    assert said.status == 1
    document = json.loads(said.out)
    (stopped,) = document["stopped"]
    assert (stopped["node_id"], stopped["code"]) == ("judge", "model_unreachable")
    assert "127.0.0.1:1" in stopped["where"]
    assert stopped["resume"] == f"elspeth-dagster resume {document['run']['run_key']}"
    assert document["status"] == "failed"
    assert document["waiting"] == ROWS - 1


def test_a_killed_run_is_resumed_and_its_answers_are_not_bought_again(cli: InProcess, tmp_path: Path) -> None:
    hang = FakeModelSettings(rules=(Rule("row-150.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server:
        project = make_project(tmp_path, server.base_url, rows=200)
        with _started(project) as process:
            _until(lambda: server.stats().answered >= 150, process)
            alive = cli(tmp_path, "resume", _latest_key(project))
            rival = cli(tmp_path, "run", "pipeline.yaml")
            process.send_signal(signal.SIGKILL)
            process.wait()
        server.change(rules=())
        resumed = cli(tmp_path, "resume", _latest_key(project))
        assert server.stats().repeated <= 8
    assert (alive.status, rival.status) == (2, 2)
    assert "still under way" in alive.err
    assert "still under way" in rival.err
    assert resumed.status == 0
    assert "taken over from before" in resumed.text
    assert "may have been answered and paid for" in resumed.text
    assert project.query("SELECT count(*) FROM runs") == [(1,)]
    assert cli(tmp_path, "verify", _latest_key(project)).status == 0


def test_ctrl_c_ends_the_run_with_130_and_a_resume_goes_on(cli: InProcess, tmp_path: Path) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=150)) as server:
        project = make_project(tmp_path, server.base_url, rows=200)
        with _started(project) as process:
            _until(lambda: server.stats().answered >= 40, process)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=WAIT_S_MAX)
        server.change(latency_ms=0)
        resumed = cli(tmp_path, "resume", _latest_key(project))
    assert process.returncode == 130
    assert b"Interrupted." in out
    assert b"elspeth-dagster resume " in out
    assert project.query("SELECT status FROM run_attempts ORDER BY attempt") == [
        ("interrupted",),
        ("completed",),
    ]
    assert resumed.status == 0


def test_a_declaration_that_is_gone_or_decides_otherwise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out" / "angry.csv").mkdir(parents=True)
    with FakeModelServer() as server:
        project = make_project(tmp_path, server.base_url, rows=4)
        assert command(project, "run", DECLARATION).returncode == 1
        key = _latest_key(project)
        file = tmp_path / DECLARATION
        declared = file.read_text()
        file.unlink()
        gone = command(project, "resume", key)
        file.write_text(declared.replace("How does the writer feel", "How do they feel"))
        changed = command(project, "resume", key)
        assert server.stats().requests == 4
    assert gone.returncode == 2
    assert "The declaration of the run is gone." in gone.stderr
    assert changed.returncode == 2
    assert "The declaration changed since this run began" in changed.stdout


def test_what_a_pipelines_own_code_prints_stays_out_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os\ndef step(row):\n    print('noise')\n    os.write(1, b'more noise')\n    return row\n"
    )
    project = make_project(tmp_path, "http://127.0.0.1:1/v1", rows=3)
    declaration = mood_pipeline("http://127.0.0.1:1/v1")
    declaration["steps"] = {"noisy": {"kind": "python", "from": "source", "call": "noisy:step"}}
    declaration["sinks"] = {
        "kept": {"kind": "jsonl", "from": "noisy", "path": "out/kept.jsonl"},
        "bad": declaration["sinks"]["bad"],
    }
    declare(project, declaration)
    done = command(project, "run", "pipeline.yaml", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "completed"
    assert "noise" not in done.stdout + done.stderr
    (log,) = (tmp_path / ".elspeth" / "dagster" / "cli").iterdir()
    assert "noise" in log.read_text()


def _started(project: Project) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "run", "pipeline.yaml"],
        cwd=project.folder,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _latest_key(project: Project) -> str:
    return str(project.query("SELECT run_key FROM runs ORDER BY started_at DESC")[0][0])


def _until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for another process to come so far: there is no event to wait for across a process that will be killed."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended too early"
        if holds():
            return
        time.sleep(0.02)
    pytest.fail("the run did not come so far in time")


def test_the_filtered_row_is_the_one_that_failed(finished: Finished) -> None:
    failures = finished.project.jsonl("out/failures.jsonl")
    assert [row["id"] for row in failures] == [FILTERED_ROW]
