"""`reuse`: what an earlier run was answered is not bought again; `echo_id`: each answer is its own row's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.reuse import fingerprint, fingerprint_key
from elspeth_dagster.pipeline import pipeline_from
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

ROWS = 20


def project_in(folder: Path, rows: int = ROWS) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(rows)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def runs_of(project: Project) -> list[tuple[Any, ...]]:
    """Calls of each run: all, and those that were taken over."""
    return project.query(
        "SELECT count(*), sum(reused_from IS NOT NULL) FROM calls JOIN node_states USING (state_id) "
        "JOIN runs USING (run_id) GROUP BY runs.run_id ORDER BY runs.started_at"
    )


@pytest.mark.parametrize("echo_id", [False, True])
def test_an_identical_request_of_an_earlier_run_is_taken_over(tmp_path: Path, echo_id: bool) -> None:  # noqa: FBT001 - a case
    project = project_in(tmp_path)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url, reuse=True, echo_id=echo_id))
        assert project.run().success
        first = (tmp_path / "out" / "angry.csv").read_bytes()

        assert project.run().success

        assert server.stats().requests == ROWS
        assert (tmp_path / "out" / "angry.csv").read_bytes() == first
        write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}!"] for index in range(ROWS)])
        assert project.run().success
        assert server.stats().requests == 2 * ROWS
    assert runs_of(project) == [(ROWS, 0), (ROWS, ROWS), (ROWS, 0)]
    kept = project.query(
        "SELECT count(*) FROM calls JOIN node_states USING (state_id) JOIN tokens USING (token_id) "
        "JOIN payloads ON payloads.salt_id = tokens.salt_id AND content_hash IN (request_hash, response_hash)"
    )
    assert kept == [(3 * 2 * ROWS,)], "each run keeps bodies of its own"


def only_judged(base_url: str, **llm: Any) -> dict[str, Any]:
    """source -> judge -> sink: what a run costs beside its calls is Dagster's steps."""
    declaration = mood_pipeline(base_url, **llm)
    del declaration["steps"]["triage"], declaration["source"]["on_invalid"]
    out = {"kind": "jsonl", "from": "judge", "path": "out/judged.jsonl"}
    return {**declaration, "sinks": {"out": out, "failures": declaration["sinks"]["failures"]}}


def test_without_reuse_nothing_is_taken_over_or_left(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with FakeModelServer() as server:
        project.declare(only_judged(server.base_url))
        assert project.run().success
        assert project.query("SELECT count(*) FROM request_keys") == [(0,)]
        project.declare(only_judged(server.base_url, reuse=True))
        assert project.run().success
        project.declare(only_judged(server.base_url))
        assert project.run().success
        failed = project.query("SELECT status, error_json FROM calls WHERE status <> 'answered'")
        assert server.stats().requests == 3 * ROWS, (server.stats(), failed)
    assert runs_of(project) == [(ROWS, 0)] * 3


def test_an_invalid_or_a_purged_answer_is_asked_for_again(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with FakeModelServer(FakeModelSettings(rules=(Rule("row-3.", Fault.REFUSAL),))) as server:
        project.declare(mood_pipeline(server.base_url, reuse=True))
        assert project.run().success
        asked = server.stats().requests
        server.change(rules=())
        assert project.run().success
        assert server.stats().requests == asked + 1

        database = Database(project.landscape_url)
        with database.write() as connection:
            connection.execute(sa.delete(schema.request_keys))
            connection.execute(sa.delete(schema.payloads))
        database.dispose()
        assert project.run().success
        assert server.stats().requests == asked + 1 + ROWS


def test_an_answer_about_another_row_is_a_typed_error(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    told = [[index, f"{3 if index == 5 else index:09}"] for index in range(ROWS)]
    write_csv(tmp_path / "in.csv", ["id", "told"], told)
    with FakeModelServer() as server:
        # The prompt tells an id too, and for one row another than its own: the fake repeats the first that it is told.
        declaration = mood_pipeline(server.base_url, echo_id=True, prompt="How?\nrow_id: {{ row.told }}")
        declaration["source"]["columns"] = {"id": "int", "told": "str"}
        project.declare(declaration)
        assert project.run().success

    (failed,) = project.jsonl("out/failures.jsonl")
    assert failed["id"] == 5
    assert failed["_error"]["code"] == "row_id_mismatch"
    assert "about row '000000003'; asked was about '000000005'" in failed["_error"]["message"]
    assert all("row_id" not in row for row in project.jsonl("out/rest.jsonl"))
    assert project.query("SELECT count(*) FROM calls WHERE error_json LIKE '%row_id_mismatch%'") == [(2,)]


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        ({"answer": {}}, "Only a declared `answer:` can repeat the row's id"),
        ({"answer": {"row_id": "str"}}, "uses the field 'row_id'"),
    ],
)
def test_an_echo_that_has_no_place_is_refused_when_loaded(
    llm: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(mood_pipeline("http://127.0.0.1:1/v1", echo_id=True, **llm), base=tmp_path)

    assert said in str(refused.value)


def test_a_fingerprint_depends_on_the_landscapes_key_the_address_and_the_body(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "other"):
        database = Database(f"sqlite:///{tmp_path / name}.db")
        database.ensure_schema()
        keys.append(fingerprint_key(database))
        assert fingerprint_key(database) == keys[-1]
        database.dispose()

    made = {
        fingerprint(key, address=at, body=body) for key in keys for at in ("a", "b") for body in (b"1", b"2")
    }
    assert len(made) == 8
    assert {len(one) for one in made} == {32}
