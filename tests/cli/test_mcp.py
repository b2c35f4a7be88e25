"""The MCP server answers a real client over stdio: bounded, paged, read-only; stdout has nothing but the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent

from elspeth_dagster.landscape import Page
from elspeth_dagster.mcp.answers import ANSWER_BYTES_MAX, answer_text, page_text
from tests.cli.conftest import COMMAND, FILTERED_ROW, ROWS, Finished, InProcess

TOOLS = [
    "list_runs", "get_run", "get_node_states", "explain_token", "explain_row", "get_calls", "get_failures",
    "get_pool_stats", "get_coalesce_events", "get_balance", "verify_run", "query",
]  # fmt: skip
Conversation = Callable[[Client], Coroutine[Any, Any, None]]


def _talk(url: str, conversation: Conversation) -> None:
    """Start the command as a client does, and talk to it."""
    parameters = StdioServerParameters(
        command=str(COMMAND), args=["mcp", "--landscape", url], env=dict(os.environ)
    )

    async def talk() -> None:
        with Path("/dev/null").open("w") as log:  # noqa: ASYNC230 - opened once, before anything else runs
            async with Client(stdio_client(parameters, errlog=log)) as client:
                await conversation(client)

    anyio.run(talk)


async def _ask(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert not result.is_error, content.text
    assert len(content.text) <= ANSWER_BYTES_MAX
    return json.loads(content.text)


async def _refused(client: Client, tool: str, **arguments: Any) -> list[str]:
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert result.is_error
    return content.text.splitlines()


def test_every_tool_answers_a_real_client(finished: Finished) -> None:
    key = finished.key

    async def conversation(client: Client) -> None:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == TOOLS
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in listed)
        (run,) = (await _ask(client, "list_runs"))["items"]
        assert (run["run"]["run_key"], run["status"]) == (key, "completed_with_failures")
        assert (await _ask(client, "get_run", run_id=key))["rows_read"] == ROWS
        story = await _ask(client, "explain_row", run_id=key, row_index=3)
        (token,) = story["tokens"]
        assert token["visits"][1]["routing"]["tested"][0]["values"]["mood"] in {"calm", "angry"}
        assert (await _ask(client, "explain_token", run_id=key, token_id=token["token_id"])) == story
        state_id = token["visits"][0]["state_id"]
        (call,) = (await _ask(client, "get_calls", state_id=state_id))["items"]
        assert call["messages"][-1]["content"].endswith("row-3.")
        failures = (await _ask(client, "get_failures", run_id=key))["failures"]
        assert {group["code"] for group in failures} == {"wrong_type", "content_filtered"}
        (pool,) = (await _ask(client, "get_pool_stats", run_id=key))["pools"]
        assert pool["pool_config"]["pool_size"] == 8
        assert (await _ask(client, "get_pool_stats", run_id=key, node_id="triage"))["pools"] == []
        assert (await _ask(client, "get_coalesce_events", run_id=key))["items"] == []
        assert (await _ask(client, "get_balance", run_id=key))["created"] == ROWS
        assert (await _ask(client, "verify_run", run_id=key))["is_clean"]
        counted = await _ask(client, "query", sql="SELECT count(*) AS n FROM rows")
        assert counted == {"columns": ["n"], "rows": [[ROWS]], "is_cut": False}

    _talk(finished.project.landscape_url, conversation)


def test_states_are_paged_and_filtered(finished: Finished) -> None:
    async def conversation(client: Client) -> None:
        seen: list[str] = []
        after = None
        while True:
            page = await _ask(
                client, "get_node_states", run_id=finished.key, node_id="judge", limit=10, after=after
            )
            seen += [state["token_id"] for state in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == sorted(seen)
        assert len(seen) == ROWS - 1
        failed = await _ask(client, "get_node_states", run_id=finished.key, status="failed")
        assert [one["token_id"][-9:] for one in failed["items"]] == [f"{FILTERED_ROW:09}"]
        assert failed["items"][0]["context_after"]["pool"]["submit_index"] >= 0

    _talk(finished.project.landscape_url, conversation)


def test_what_is_wrong_is_said_in_three_lines(finished: Finished) -> None:
    async def conversation(client: Client) -> None:
        for tool, arguments, what in (
            ("get_run", {"run_id": "zzz"}, "There is no run 'zzz'."),
            ("get_run", {}, "do not fit: run_id: Field required."),
            ("get_run", {"run_id": "a", "extra": 1}, "do not fit: extra: Extra inputs"),
            ("explain_row", {"run_id": finished.key, "row_index": 999}, "has no row 999."),
            ("get_node_states", {"run_id": finished.key, "after": "???"}, "This cursor is not"),
            ("get_node_states", {"run_id": finished.key, "limit": 5_000}, "limit: Input should be less"),
            ("get_node_states", {"run_id": finished.key, "status": "odd"}, "status: Input should be"),
            ("query", {"sql": "DELETE FROM payloads"}, "Only queries that read are answered."),
            ("nothing", {}, "There is no tool 'nothing'."),
        ):
            lines = await _refused(client, tool, **arguments)
            assert what in lines[0]
            assert [line.split(":")[0].strip() for line in lines[1:]] == ["where", "next"]

    _talk(finished.project.landscape_url, conversation)


def test_a_landscape_that_is_not_there_is_an_answer(tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        assert "There is no Landscape here yet." in (await _refused(client, "list_runs"))[0]

    _talk(f"sqlite:///{tmp_path / 'none.db'}", conversation)
    assert list(tmp_path.iterdir()) == []


def test_stdout_has_nothing_but_the_protocol(finished: Finished) -> None:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        },
    }
    done = subprocess.run(
        [COMMAND, "mcp", "--landscape", finished.project.landscape_url, "--debug"],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == [1]
    assert lines[0]["result"]["serverInfo"]["name"] == "elspeth-dagster"


def test_without_the_extra_the_command_says_what_to_install(
    cli: InProcess, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    monkeypatch.delitem(sys.modules, "elspeth_dagster.mcp.server", raising=False)
    said = cli(finished.project.folder, "mcp")
    assert said.status == 2
    assert "pip install 'elspeth_dagster[mcp]'" in said.err


# Bounds --------------------------------------------------------------------------------------------------------------


def test_a_page_that_is_too_large_gets_shorter_and_loses_nothing() -> None:
    items = [f"{number}:{'x' * 30_000}" for number in range(50)]

    def ask(after: int) -> Callable[[int], Page[str]]:
        return lambda limit: Page(
            tuple(items[after : after + limit]), str(after + limit) if after + limit < len(items) else None
        )

    seen: list[str] = []
    after: str | None = "0"
    while after is not None:
        text = page_text(ask(int(after)), 100)
        assert len(text) <= ANSWER_BYTES_MAX
        page = json.loads(text)
        seen += page["items"]
        after = page["next"]
    assert seen == items


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        ["x" * 100] * 100_000,
        {"many": {str(number): "x" * 50 for number in range(100_000)}},
        [[["x" * 1_000] * 100] * 100] * 10,
    ],
)
def test_an_answer_that_is_too_large_is_cut_and_says_so(value: object) -> None:
    text = answer_text(value)
    assert len(text) <= ANSWER_BYTES_MAX
    assert json.loads(text)["cut"].startswith("Cut to fit")
