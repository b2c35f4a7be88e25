"""Whatever is wrong with the world around a run: a clear error, no call that is not recorded, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.pipeline import load_pipeline
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project, mood_pipeline, write_csv

NOBODY = "http://127.0.0.1:9/v1"  # the discard port: refused at once


def _project(folder: Path, rows: int = 30) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"message {index}"] for index in range(rows)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def _failure(result: dg.JobExecutionResult) -> str:
    assert not result.success
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            return str(data.user_failure_data.description if data.user_failure_data else data.error)
    raise AssertionError("no step failed")


def test_a_model_server_that_is_down_stops_the_node_and_a_resume_finishes_it(tmp_path: Path) -> None:
    project = _project(tmp_path)
    with FakeModelServer() as server:
        port, url = server.port, server.base_url
    project.declare(mood_pipeline(url, pool={"pool_size": 4, "transient_attempts": 2}))

    first = project.run()

    said = _failure(first)
    assert "The model cannot be reached: ConnectionRefusedError" in said
    assert url in said
    assert "next:" in said
    assert project.query("SELECT count(*) FROM token_outcomes WHERE outcome = 'failed'") == [(0,)]
    assert project.query("SELECT DISTINCT status FROM node_states") == [("interrupted",)]
    with FakeModelServer(port=port):
        assert project.run(resume=first.run_id).success
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(30,)]


def test_a_wrong_key_stops_the_node_at_once_and_fails_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _project(tmp_path, rows=500)
    monkeypatch.setenv("WRONG_KEY", "sk-wrong-canary")
    with FakeModelServer(FakeModelSettings(api_key="sk-right")) as server:
        declaration = mood_pipeline(server.base_url)
        declaration["models"]["default"]["api_key_env"] = "WRONG_KEY"
        project.declare(declaration)
        said = _failure(project.run())
        assert server.stats().requests <= 16
    assert "HTTP 401" in said
    assert "sk-wrong-canary" not in said
    assert project.query("SELECT count(*) FROM node_states WHERE status = 'failed'") == [(0,)]
    assert (
        project.query("SELECT count(*) FROM calls WHERE status = 'failed' AND http_status = 401")[0][0] >= 1
    )


def test_a_missing_key_is_told_by_name_before_anything_is_sent(tmp_path: Path) -> None:
    project = _project(tmp_path)
    declaration = mood_pipeline(NOBODY)
    declaration["models"]["default"]["api_key_env"] = "NO_SUCH_KEY_HERE"
    project.declare(declaration)

    said = _failure(project.run())

    assert "NO_SUCH_KEY_HERE" in said
    assert project.query("SELECT count(*) FROM calls") == [(0,)]


def test_a_landscape_that_cannot_be_written_means_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    write_csv(tmp_path / "in.csv", ["id", "text"], [[0, "a"]])
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'file' / 'landscape.db'}")
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        said = _failure(project.run())
        assert server.stats().requests == 0
    assert "Landscape" in said
    assert "landscape.db" in said or "file" in said


def test_a_missing_source_file_names_the_file(tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.declare(mood_pipeline(NOBODY))
    (tmp_path / "in.csv").unlink()

    said = _failure(project.run())

    assert "in.csv" in said


BAD_ROWS: list[tuple[str, str]] = [
    ("1", "too_few_fields"),
    ("one,text", "wrong_type"),
    ("NaN,text", "not_a_number"),
    ("2,te\0xt", "nul_character"),
    (f"3,{'x' * 2_000_000}", "cell_too_large"),
    ("9007199254740993,text", "integer_too_large"),
]


@pytest.mark.parametrize(("line", "code"), BAD_ROWS, ids=[code for _, code in BAD_ROWS])
def test_a_bad_row_is_quarantined_and_its_neighbours_are_not(tmp_path: Path, line: str, code: str) -> None:
    project = _project(tmp_path)
    (tmp_path / "in.csv").write_text(f"id,text\n0,before\n{line}\n4,after\n", encoding="utf-8")
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        assert project.run().success
        assert server.stats().requests == 2
    codes = [found for (found,) in project.query("SELECT code FROM validation_errors")]
    assert code in codes
    (bad,) = project.jsonl("out/bad.jsonl")
    assert bad["_error"]["code"] == "invalid_row"
    kept = [row["id"] for row in project.jsonl("out/rest.jsonl")] + [
        int(row["id"]) for row in project.csv("out/angry.csv")
    ]
    assert sorted(kept) == [0, 4]


def test_a_record_of_which_nothing_fits_leaves_bounded_evidence_and_says_how_much_more(
    tmp_path: Path,
) -> None:
    fields = ", ".join(f'"field {number}": NaN' for number in range(3_000))
    (tmp_path / "in.jsonl").write_text(f'{{"id": 1, {fields}}}\n{{"id": 2}}\n')
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
    source = {"kind": "jsonl", "path": "in.jsonl", "columns": {"id": "int"}, "on_invalid": "bad"}
    project.declare(
        {
            "name": "wide",
            "source": source,
            "sinks": {
                "good": {"kind": "jsonl", "from": "source", "path": "out/good.jsonl"},
                "bad": {"kind": "jsonl", "path": "out/bad.jsonl"},
            },
        }
    )

    assert project.run().success

    (bad,) = project.jsonl("out/bad.jsonl")
    told = bad["_error"]["violations"]
    assert [one["field"] for one in told[:100]] == [f"field {number}" for number in range(100)]
    assert [one["code"] for one in told[100:]] == ["more_violations"]
    assert bad["field 2999"] == "nan"
    assert project.jsonl("out/good.jsonl") == [{"id": 2}]


def test_a_row_that_was_in_an_error_sink_before_keeps_what_was_said_then(tmp_path: Path) -> None:
    project = _project(tmp_path)
    write_csv(
        tmp_path / "in.csv", ["id", "text", "_error"], [[0, "zero", "earlier"], ["no", "number", "then"]]
    )
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url, prompt="{{ row.text + 1 }}"))
        assert project.run().success
    (failed,), (bad,) = project.jsonl("out/failures.jsonl"), project.jsonl("out/bad.jsonl")
    assert (failed["_error"]["code"], failed["_error"]["_error"]) == ("template_failed", "earlier")
    assert (bad["_error"]["code"], bad["_error"]["_error"]) == ("invalid_row", "then")


def test_a_declaration_with_a_runaway_template_ends_as_row_errors_not_as_a_hang(tmp_path: Path) -> None:
    project = _project(tmp_path, rows=2)
    loop = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}{{ row.text }}"
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url, prompt=loop))
        assert project.run().success
        assert server.stats().requests == 0
    assert {row["_error"]["code"] for row in project.jsonl("out/failures.jsonl")} == {"template_failed"}


def test_too_many_failures_stop_the_node_with_the_reason(tmp_path: Path) -> None:
    project = _project(tmp_path, rows=200)
    with FakeModelServer(FakeModelSettings(faults={"refusal": 1.0})) as server:
        project.declare(mood_pipeline(server.base_url, answer_attempts=1, max_error_rate=0.3))
        said = _failure(project.run())
        assert server.stats().requests < 200
    assert "max_error_rate" in said
    assert "refused" in said
    failed = project.query("SELECT count(*) FROM node_states WHERE status = 'failed'")[0][0]
    assert failed >= 20


def test_a_column_that_the_file_lacks_is_told_before_the_first_row(tmp_path: Path) -> None:
    project = _project(tmp_path)
    declaration: dict[str, Any] = mood_pipeline(NOBODY)
    declaration["source"]["columns"]["texxt"] = "str"
    project.declare(declaration)

    said = _failure(project.run())

    assert "texxt" in said
    assert project.query("SELECT count(*) FROM rows") == [(0,)]


def test_a_server_that_answers_429_for_ever_ends_as_row_errors_when_the_budget_is_spent(
    tmp_path: Path,
) -> None:
    project = _project(tmp_path, rows=5)
    pool = {"pool_size": 4, "max_capacity_retry_seconds": 0.5}
    with FakeModelServer(FakeModelSettings(always=429)) as server:
        project.declare(mood_pipeline(server.base_url, pool=pool))
        assert project.run().success
        assert server.stats().answered == 0
    failed = project.jsonl("out/failures.jsonl")
    assert [row["id"] for row in failed] == list(range(5))
    for row in failed:
        error = row["_error"]
        assert error["code"] == "retry_timeout"
        assert error["status_code"] == 429
        assert error["max_seconds"] == 0.5
        assert error["elapsed_seconds"] >= 0.4
    assert (
        project.query("SELECT count(*) FROM calls WHERE status = 'failed' AND http_status = 429")[0][0] >= 5
    )


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": "8"}, "pool_size"),
        ({"pool_sise": 8}, "Did you mean 'pool_size'?"),
        ({"throttle": "adaptve"}, "Did you mean 'adaptive'?"),
    ],
    ids=["zero", "text", "unknown key", "misspelt controller"],
)
def test_a_pool_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, pool: dict[str, Any], said: str
) -> None:
    project = _project(tmp_path)
    project.declare(mood_pipeline(NOBODY, pool=pool))
    with pytest.raises(DeclarationError) as refused:
        load_pipeline(project.declaration)
    (mistake,) = refused.value.mistakes
    assert said in mistake
    assert mistake.startswith("pipeline_1.yaml:")
