"""Nothing secret is ever stored, logged, raised or printed: a canary is sent down, and looked for everywhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
import yaml
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from sqlalchemy.engine import make_url

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.orchestration.build import build_definitions
from elspeth_dagster.orchestration.resources import LandscapeResource
from elspeth_dagster.pipeline import pipeline_from
from tests.postgres import Postgres
from tests.security.echo_server import (
    GOOD,
    GOOD_ECHO,
    HANG,
    TRUNCATED_ECHO,
    UNAUTHORIZED_ECHO,
    echo_server,
)
from tests.security.searching import assert_nowhere, everything_in, everything_on
from tests.support import Project, mood_pipeline, write_csv

KEY = 'sk-canary/71+fe=Zq&"w\\x7'
PASSWORD = "pw-canary/83+ab=Xy&z"
PROXY_PASSWORD = "proxy-canary/19+cd=Uv"
VARIABLE = "CANARY_API_KEY"
ROWS = 4

TELLTALE = """
import gc
import os

def tell(row):
    for thing in gc.get_objects():
        module = getattr(type(thing), "__module__", "")
        if isinstance(module, str) and module.startswith(("elspeth_dagster", "sqlalchemy.engine")):
            print(type(thing).__name__, repr(thing), str(thing))
    if row["id"] == 2:
        raise RuntimeError(f"I was started with {os.environ['CANARY_API_KEY']}!")
    return row

class Crash(BaseException):
    pass

def crash(row):
    raise Crash(f"{dict(os.environ)}")
"""


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:1")


@contextmanager
def everything_logged(folder: Path) -> Iterator[None]:
    """All of Python's logging at DEBUG, into a file of the project."""
    root = logging.getLogger()
    handler = logging.FileHandler(folder / "debug.log", encoding="utf-8")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()


def declaration(base_url: str, *, call: str | None = None, **model: Any) -> dict[str, Any]:
    declared = mood_pipeline(base_url, pool={"pool_size": 2, "max_capacity_retry_seconds": 1})
    declared["models"]["default"] |= {"api_key_env": VARIABLE, **model}
    if call is not None:
        declared["steps"]["tell"] = {"kind": "python", "from": "judge", "call": call, "on_error": "failures"}
        declared["steps"]["triage"]["from"] = "tell"
    return declared


def project_in(folder: Path, url: str | None = None) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row {index}"] for index in range(ROWS)])
    (folder / "telltale.py").write_text(TELLTALE)
    return Project(folder, url or f"sqlite:///{folder / 'landscape.db'}")


def assert_clean(folder: Path, *said: str) -> None:
    places = [*everything_in(folder), *(text.encode() for text in said)]
    for secret in (KEY, PASSWORD, PROXY_PASSWORD):
        assert_nowhere(secret, *places)


@pytest.mark.parametrize(
    ("behaviour", "call", "ended"),
    [
        (GOOD, None, "success"),
        (GOOD, "telltale:tell", "success"),
        (GOOD, "telltale:crash", "failure"),
        (GOOD_ECHO, None, "success"),
        (TRUNCATED_ECHO, None, "success"),
        (UNAUTHORIZED_ECHO, None, "failure"),
        (HANG, None, "success"),
    ],
)
def test_the_key_is_nowhere_whatever_happens(
    behaviour: str, call: str | None, ended: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = project_in(tmp_path)
    with echo_server(behaviour) as base_url, everything_logged(tmp_path):
        project.declare(declaration(base_url, call=call, timeout_s=0.2 if behaviour == HANG else 30.0))
        result = project.run()
    said = capfd.readouterr()

    assert ("success" if result.success else "failure") == ended
    assert project.query("SELECT count(*) FROM calls")[0][0] >= 1
    exported = cli(tmp_path, "export", result.run_id, "--out", "exported", url=project.landscape_url)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "exported" / "payloads.jsonl").stat().st_size > 0
    events = "\n".join(str(event) for event in result.all_events)
    assert_clean(tmp_path, said.out, said.err, events, exported.stdout, exported.stderr)
    assert (tmp_path / "debug.log").stat().st_size > 0


def test_a_body_that_repeats_the_key_is_stored_marked_and_hashes_as_stored(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with echo_server(GOOD_ECHO) as base_url:
        project.declare(declaration(base_url))
        assert project.run().success

    bodies = project.query(
        "SELECT p.body FROM calls c JOIN payloads p ON p.content_hash = c.response_hash ORDER BY c.call_id"
    )
    assert len(bodies) == ROWS
    assert all(b'"Authorization": "Bearer [redacted]"' in bytes(body) for (body,) in bodies)
    (usage,) = project.query("SELECT usage_json FROM node_executions WHERE node_id = 'judge'")[0]
    assert f'"redacted":{ROWS}' in usage


@pytest.fixture
def guarded_url(postgres: Postgres) -> Iterator[str]:
    """A Landscape in PostgreSQL whose URL holds a password."""
    url = postgres.empty()
    yield make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)
    postgres.drop(url)


def cli(folder: Path, *words: str, url: str | None) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys, logging; logging.basicConfig(level=logging.DEBUG, filename='cli.log')\n"
        "from elspeth_dagster.cli.main import main; sys.exit(main())"
    )
    environ = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(Path(__file__).parents[2])}
    if url is not None:
        environ["ELSPETH_LANDSCAPE_URL"] = url
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_landscapes_password_is_nowhere(tmp_path: Path, guarded_url: str) -> None:
    project = project_in(tmp_path, guarded_url)
    with echo_server(GOOD) as base_url:
        project.declare(declaration(base_url, call="telltale:tell"))
        file = str(project.declaration)
        ran = cli(tmp_path, "run", file, "--debug", url=guarded_url)
    assert ran.returncode == 3, ran.stderr
    key = project.query("SELECT run_key FROM runs")[0][0]
    said = [ran]
    for words in (
        ["db", "check"],
        ["show", key],
        ["runs"],
        ["explain", key, "--row", "2", "--json"],
        ["export", key, "--out", "all"],
    ):
        said.append(cli(tmp_path, *words, "--landscape", guarded_url, url=None))
        assert said[-1].returncode == 0, said[-1].stderr
    lost = guarded_url.replace("landscape_", "no_such_landscape_")
    said.append(cli(tmp_path, "run", file, "--landscape", lost, url=None))
    assert said[-1].returncode == 2
    texts = [text for one in said for text in (one.stdout, one.stderr)]
    assert_clean(tmp_path, *texts)
    for secret in (KEY, PASSWORD, PROXY_PASSWORD):
        assert_nowhere(secret, *everything_on(guarded_url))


def _asked_over_mcp(folder: Path, url: str, questions: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """What the server answers a real client, and on stderr; the URL is where docs/mcp.md puts it."""
    program = (
        "import sys, logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from elspeth_dagster.cli.main import main; sys.exit(main(['mcp', '--debug']))"
    )
    environ = {
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "ELSPETH_LANDSCAPE_URL": url,
    }
    server = StdioServerParameters(command=sys.executable, args=["-c", program], env=environ, cwd=folder)
    said: dict[str, str] = {}

    async def talk() -> None:
        with (folder / "mcp.log").open("a") as log:
            async with Client(stdio_client(server, errlog=log)) as client:
                said["tools"] = (await client.list_tools()).model_dump_json()
                for name, arguments in questions.items():
                    answer = await client.call_tool(name.partition(" ")[0], arguments)
                    said[name] = answer.model_dump_json()

    anyio.run(talk)
    return said


def test_no_answer_of_the_mcp_server_holds_a_secret(tmp_path: Path, guarded_url: str) -> None:
    project = project_in(tmp_path, guarded_url)
    with echo_server(GOOD_ECHO) as base_url:
        project.declare(declaration(base_url, call="telltale:tell"))
        ran = cli(tmp_path, "run", str(project.declaration), url=guarded_url)
    assert ran.returncode == 3, ran.stderr
    ((run, state),) = project.query(
        "SELECT run_id, state_id FROM calls JOIN node_states USING (state_id) ORDER BY state_id LIMIT 1"
    )
    of_run = {"run_id": run}
    said = _asked_over_mcp(
        tmp_path,
        guarded_url,
        {
            "list_runs": {},
            "get_run": of_run,
            "get_node_states": of_run,
            "explain_row": {**of_run, "row_index": 2},
            "explain_token": {**of_run, "token_id": f"{run[:8]}-000000001"},
            "get_calls": {"state_id": state},
            "get_failures": of_run,
            "get_pool_stats": of_run,
            "get_coalesce_events": of_run,
            "get_balance": of_run,
            "verify_run": of_run,
            "query bodies": {"sql": "SELECT convert_from(body, 'UTF8') FROM payloads"},
            "query nodes": {"sql": "SELECT * FROM nodes"},
            "query wrong": {"sql": "SELECT * FROM nothing_like_it"},
            "query session": {"sql": "SELECT current_user, current_setting('application_name')"},
        },
    )
    assert "[redacted]" in said["get_calls"]
    assert "[redacted]" in said["query bodies"]
    assert "I was started with [redacted]!" in said["explain_row"]
    assert '"is_error":true' in said["query wrong"].replace('"isError"', '"is_error"')
    lost = guarded_url.replace("landscape_", "no_such_landscape_")
    said |= {
        f"lost {name}": text for name, text in _asked_over_mcp(tmp_path, lost, {"list_runs": {}}).items()
    }
    assert "cannot be" in said["lost list_runs"]
    assert (tmp_path / "mcp.log").stat().st_size > 0
    assert_clean(tmp_path, *said.values())


def test_a_resource_with_a_password_written_out_is_refused(tmp_path: Path) -> None:

    project_in(tmp_path)
    pipeline = pipeline_from(declaration("http://127.0.0.1:1/v1"), base=tmp_path)
    secret = f"postgresql+psycopg://me:{quote(PASSWORD, safe='')}@host/name"

    with pytest.raises(LaunchError, match="holds a password") as refused:
        build_definitions(pipeline, landscape=LandscapeResource(url=secret))

    assert_nowhere(PASSWORD, str(refused.value).encode())
    url = Database(secret).url
    assert_nowhere(PASSWORD, f"{url!r} {url}".encode())


def test_a_declaration_tells_names_only(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    project.declare(declaration("http://127.0.0.1:1/v1"))
    said = cli(tmp_path, "validate", str(project.declaration), url=None)

    assert said.returncode == 0, said.stderr
    assert VARIABLE in yaml.safe_load(project.declaration.read_text())["models"]["default"]["api_key_env"]
    assert_clean(tmp_path, said.stdout, said.stderr)
