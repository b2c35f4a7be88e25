"""A pipeline from a table to a table, on SQLite and on PostgreSQL: provable, the same on a resume, and no user told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from elspeth_dagster.errors import DeclarationError, SinkError, SourceError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.pipeline import Pipeline, pipeline_from
from elspeth_dagster.pipeline.json_schema import sinks_schema, source_schema
from elspeth_dagster.runtime.node_run import Engine, RunIdentity, run_node
from tests.postgres import Postgres
from tests.scenarios.conftest import findings
from tests.scenarios.test_source_again import IDENTITY, engine  # noqa: F401 - a fixture
from tests.support import Project

USER, PASSWORD = "warehouse_user", "Pa55word:of/the@warehouse"
DECLARATION: dict[str, Any] = {
    "name": "tables",
    "source": {
        "kind": "sql",
        "url_env": "WAREHOUSE_URL",
        "table": "messages",
        "order_by": "id",
        "columns": {"id": "int", "text": "str"},
        "on_invalid": "bad",
    },
    "steps": {"marked": {"kind": "map", "from": "source", "set": {"long": "row.text | length"}}},
    "sinks": {
        "out": {"kind": "sql", "from": "marked", "url_env": "WAREHOUSE_URL", "table": "judged"},
        "bad": {"kind": "sql", "url_env": "WAREHOUSE_URL", "table": "bad messages"},
    },
}


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a database with six messages, one of them without text; the run has it from its environment."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'warehouse.db'}"
        monkeypatch.setenv("WAREHOUSE_URL", url)
        _execute(url, *_MESSAGES)
        yield url
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.empty()
    url = make_url(made).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    quoted = PASSWORD.replace("'", "''")
    _execute(
        url,
        *_MESSAGES,
        f"CREATE ROLE {USER} LOGIN SUPERUSER PASSWORD '{quoted}'",
    )
    theirs = make_url(url).set(username=USER, password=PASSWORD).render_as_string(hide_password=False)
    monkeypatch.setenv("WAREHOUSE_URL", theirs)
    yield url
    _execute(
        url,
        'DROP TABLE IF EXISTS judged, messages, "bad messages"',
        f"DROP OWNED BY {USER}",
        f"DROP ROLE {USER}",
    )
    server.drop(made)


_MESSAGES = (
    "CREATE TABLE messages (id integer, text text)",
    "INSERT INTO messages VALUES (4, 'four'), (1, 'one'), (3, NULL), (2, 'two'), (6, 'sixth'), (5, 'five')",
)


def _execute(url: str, *statements: str) -> list[Any]:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)  # noqa: F811 - not the fixture
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def test_rows_go_from_table_to_table_and_the_run_is_provable(project: Project, warehouse: str) -> None:
    project.declare(DECLARATION)
    result = project.run()
    assert result.success
    question = "SELECT id, text, long, elspeth_row FROM judged ORDER BY elspeth_row"
    assert _execute(warehouse, question) == [
        (1, "one", 3, 1), (2, "two", 3, 2), (4, "four", 4, 3), (5, "five", 4, 4), (6, "sixth", 5, 5),
    ]  # fmt: skip
    assert _execute(warehouse, 'SELECT id FROM "bad messages"') == [(3,)]
    assert findings(project) == []
    by_key = {
        event.materialization.asset_key.path[-1]: event.materialization
        for event in result.get_asset_materialization_events()
    }
    assert by_key["out"].metadata["dagster/row_count"].value == 5
    assert by_key["out"].metadata["dagster/table_name"].value == "judged"
    assert "table=judged" in str(by_key["out"].metadata["dagster/uri"].value)
    assert "table=messages" in str(by_key["source"].metadata["dagster/uri"].value)
    _execute(warehouse, "UPDATE judged SET text = 'ten' WHERE id = 1")
    assert any("is not what the sink wrote: 5 rows of it now, 5 then" in one for one in findings(project))


def test_verify_says_what_it_cannot_read(
    project: Project, warehouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.declare(DECLARATION)
    assert project.run().success
    if warehouse.startswith("postgres"):
        assert "out/judged" not in "".join(_notes(project))
        with monkeypatch.context() as patched:
            patched.delenv("WAREHOUSE_URL")
            assert "judged in " in "".join(_notes(project))
            assert "The environment variable WAREHOUSE_URL is not set." in "".join(_notes(project))
            patched.setenv("WAREHOUSE_URL", "postgresql://elsewhere/db")
            assert "leads elsewhere now" in "".join(_notes(project))
    _execute(warehouse, "DROP TABLE judged")
    assert "not compared. The database refused" in "".join(_notes(project))
    assert findings(project) == []


def _notes(project: Project) -> tuple[str, ...]:
    database = Database(project.landscape_url)
    try:
        ((run_id,),) = project.query("SELECT run_id FROM runs")
        return verify_run(database, find_run(database, run_id), now=SystemClock().now()).notes
    finally:
        database.dispose()


def test_later_runs_of_an_appending_sink_leave_the_earlier_ones_provable(
    tmp_path: Path,
    warehouse: str,
    engine: Engine,  # noqa: F811
) -> None:
    out = {**DECLARATION["sinks"]["out"], "mode": "append"}
    pipeline = pipeline_from({**DECLARATION, "sinks": {**DECLARATION["sinks"], "out": out}}, base=tmp_path)
    for run_id in ("first", "second"):
        _run_all(pipeline, engine, run_id, None)
    assert _execute(warehouse, "SELECT count(*) FROM judged") == [(10,)]
    first = find_run(engine.database, "first")
    report = verify_run(engine.database, first, now=SystemClock().now())
    assert [one.what for check in report.checks for one in check.findings] == []
    assert report.counts["tables"] == 1


def test_the_schema_for_editors_takes_what_the_loader_takes() -> None:
    for schema, section, kinds in (
        (source_schema(), "source", {"order_by": ["id", "text"]}),
        (source_schema(), "source", {"order_by": "id"}),
        (sinks_schema()["additionalProperties"], "out", {"mode": "append", "columns": {"id": "int"}}),
    ):
        declared = DECLARATION["source"] if section == "source" else DECLARATION["sinks"][section]
        jsonschema.validate({**declared, **kinds}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**declared, **kinds, "tabel": "x"}, schema)


def test_no_user_and_no_password_is_stored_anywhere(project: Project, warehouse: str) -> None:
    project.declare(DECLARATION)
    assert project.run().success
    _execute(warehouse, "DROP TABLE messages")
    assert not project.run().success
    if not warehouse.startswith("postgres"):
        return
    for path in project.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in (USER, PASSWORD, "Pa55word") if secret.encode() in content], path


def test_a_run_again_replaces_a_partition_and_has_the_same_data_version(
    project: Project, warehouse: str
) -> None:
    project.declare(DECLARATION)
    versions = []
    for _ in range(2):
        events = project.run().get_asset_materialization_events()
        by_key = {event.materialization.asset_key.path[-1]: event.materialization for event in events}
        versions.append([(by_key[name].tags or {})["dagster/data_version"] for name in ("source", "out")])
    assert versions[0] == versions[1]
    assert _execute(warehouse, "SELECT count(*), count(DISTINCT elspeth_run_id) FROM judged") == [(5, 1)]


def test_a_table_that_changed_before_a_resume_is_refused(
    tmp_path: Path,
    warehouse: str,
    engine: Engine,  # noqa: F811
) -> None:
    pipeline = pipeline_from(DECLARATION, base=tmp_path)
    run_node(pipeline, "source", run=IDENTITY, engine=engine)
    assert run_node(pipeline, "source", run=IDENTITY, engine=engine).balance.arrived == 6
    _execute(warehouse, "UPDATE messages SET text = 'TWO' WHERE id = 2")
    with pytest.raises(SourceError, match="record 1 is not what was read before") as told:
        run_node(pipeline, "source", run=IDENTITY, engine=engine)
    assert "restore the table" in str(told.value)


def test_a_sink_that_died_after_its_table_was_written_writes_it_again(
    tmp_path: Path,
    warehouse: str,
    engine: Engine,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from elspeth_dagster.runtime import sink_run  # noqa: PLC0415 - to fail inside of it

    pipeline = pipeline_from(DECLARATION, base=tmp_path)
    for node_id in ("source", "marked"):
        run_node(pipeline, node_id, run=IDENTITY, engine=engine)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sink_run, "_record", dies)
        with pytest.raises(KeyboardInterrupt):
            run_node(pipeline, "out", run=IDENTITY, engine=engine)
    assert _execute(warehouse, "SELECT count(*) FROM judged") == [(5,)]
    report = run_node(pipeline, "out", run=IDENTITY, engine=engine)
    assert _execute(warehouse, "SELECT count(*) FROM judged") == [(5,)]
    assert report.proofs.sink is not None
    assert report.proofs.sink.holds


def _run_all(pipeline: Pipeline, engine: Engine, run_id: str, partition: str | None) -> None:  # noqa: F811
    identity = RunIdentity(run_id, run_id, partition, None, None, {}, "host", 1)
    alone = replace(engine, end_of=lambda _: RunStatus.COMPLETED)
    for node_id in pipeline.nodes:
        run_node(pipeline, node_id, run=identity, engine=alone)


def test_each_partition_reads_and_replaces_its_own_rows(
    tmp_path: Path,
    warehouse: str,
    engine: Engine,  # noqa: F811
) -> None:
    source = {
        key: value for key, value in DECLARATION["source"].items() if key not in {"table", "on_invalid"}
    }
    source["query"] = "SELECT id, text FROM messages WHERE text = {partition}"
    sinks = {"out": {**DECLARATION["sinks"]["out"], "from": "source"}}
    divided: dict[str, Any] = {
        "name": "tables",
        "source": source,
        "sinks": sinks,
        "partitions": {"static": ["one", "two"]},
    }
    pipeline = pipeline_from(divided, base=tmp_path)
    for number, key in enumerate(("one", "two", "one")):
        _run_all(pipeline, engine, f"run-{number}", key)
    question = "SELECT elspeth_partition, id, elspeth_run_id FROM judged ORDER BY 1"
    assert _execute(warehouse, question) == [("one", 1, "run-2"), ("two", 2, "run-1")]


def test_shards_take_their_records_of_one_table(
    tmp_path: Path,
    warehouse: str,
    engine: Engine,  # noqa: F811
) -> None:
    source = {**DECLARATION["source"], "on_invalid": "discard"}
    sinks = {"out": {**DECLARATION["sinks"]["out"], "from": "source"}}
    divided: dict[str, Any] = {
        "name": "tables",
        "source": source,
        "sinks": sinks,
        "partitions": {"shards": 2},
    }
    pipeline = pipeline_from(divided, base=tmp_path)
    for key in ("0-of-2", "1-of-2"):
        _run_all(pipeline, engine, f"run/{key}", key)
    question = "SELECT elspeth_partition, id FROM judged ORDER BY 1, 2"
    assert _execute(warehouse, question) == [
        ("0-of-2", 1), ("0-of-2", 5), ("1-of-2", 2), ("1-of-2", 4), ("1-of-2", 6),
    ]  # fmt: skip


def test_an_unset_variable_is_told_before_anything_is_begun(
    tmp_path: Path,
    engine: Engine,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    pipeline = pipeline_from(DECLARATION, base=tmp_path)
    with pytest.raises(Exception, match="The environment variable WAREHOUSE_URL is not set") as told:
        run_node(pipeline, "source", run=IDENTITY, engine=engine)
    assert type(told.value).__name__ == "MissingSecretError"


def test_the_landscape_is_nobodys_sink(tmp_path: Path, engine: Engine) -> None:  # noqa: F811
    (tmp_path / "in.jsonl").write_text('{"id": 1}\n')
    declared = {
        "name": "own",
        "source": {"kind": "jsonl", "path": "in.jsonl", "columns": {"id": "int"}},
        "sinks": {"out": {"kind": "sql", "from": "source", "url": "sqlite:///landscape.db", "table": "t"}},
    }
    pipeline = pipeline_from(declared, base=tmp_path)  # type: ignore[arg-type]
    identity = RunIdentity("own", "own", None, None, None, {}, "host", 1)
    run_node(pipeline, "source", run=identity, engine=engine)
    with pytest.raises(SinkError, match="The sink's database is the Landscape itself"):
        run_node(pipeline, "out", run=identity, engine=engine)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"url_env": None}, "Name the database by one of `url` and `url_env`"),
        ({"url": "sqlite:///x.db"}, "Name the database by one of `url` and `url_env`: there are both."),
        ({"url_env": None, "url": "postgresql://me@host/db"}, "It holds a user or a password"),
        ({"url_env": None, "url": "postgresql://host/db?password=x"}, "It holds a user or a password"),
        ({"url_env": None, "url": "sqlite:///../../x.db"}, "leads outside of the project"),
        ({"url_env": None, "url": "data/x.db"}, "This is no URL"),
        ({"url_env": None, "url": "postgresq://host/db"}, "Did you mean 'postgresql'?"),
        ({"url_env": "postgresql://me:Pa55word@host/db"}, "This is no variable's NAME"),
        ({"table": None}, "Say what to read by one of `table` and `query`"),
        ({"query": "SELECT 1"}, "Say what to read by one of `table` and `query`: there are both."),
        ({"table": None, "query": "DELETE FROM t"}, "A source only reads"),
        ({"table": None, "query": "SELECT {partition}"}, "but the pipeline has no `partitions`"),
        ({"order_by": None}, "order_by"),
        ({"order_by": ["id", "id"]}, "Column 'id' is named twice."),
        ({"order_bye": "id"}, "Did you mean 'order_by'?"),
        ({"tabel": "messages"}, "Did you mean 'table'?"),
    ],
)
def test_mistakes_are_told_when_it_is_loaded(tmp_path: Path, keys: dict[str, Any], what: str) -> None:
    source = {key: value for key, value in {**DECLARATION["source"], **keys}.items() if value is not None}
    with pytest.raises(DeclarationError) as told:
        pipeline_from({**DECLARATION, "source": source}, base=tmp_path)
    assert what in "\n".join(told.value.mistakes)
    assert "Pa55word" not in str(told.value)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"mode": "apend"}, "Did you mean 'append'?"),
        ({"columns": {"idd": "int"}}, "Did you mean 'id'?"),
        ({"columns": {"id": "integer"}}, "unknown type 'integer'"),
        ({"table": None}, "table"),
    ],
)
def test_a_sinks_mistakes_are_told_when_it_is_loaded(tmp_path: Path, keys: dict[str, Any], what: str) -> None:
    out = {key: value for key, value in {**DECLARATION["sinks"]["out"], **keys}.items() if value is not None}
    with pytest.raises(DeclarationError) as told:
        pipeline_from({**DECLARATION, "sinks": {**DECLARATION["sinks"], "out": out}}, base=tmp_path)
    assert what in "\n".join(told.value.mistakes)
