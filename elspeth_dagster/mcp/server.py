"""The protocol: lists the tools, checks arguments, asks the Landscape in a thread. Nothing else reaches stdout.

The Landscape is opened for each question, read-only: it may be made, moved or migrated while the server runs.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any, Final

import anyio
import anyio.to_thread
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ToolDescription
from pydantic import ValidationError

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape import Landscape
from elspeth_dagster.mcp.tools import TOOLS, Tool

INSTRUCTIONS: Final = (
    "The audit database of elspeth_dagster: what happened to every row of a pipeline, and why. Begin with list_runs, "
    "then get_run; explain_row tells one row's whole story. Answers are pages: pass `next` on as `after` for more. "
    "Nothing can be changed here."
)
_BY_NAME: Final = {tool.name: tool for tool in TOOLS}
logger = logging.getLogger(__name__)


def serve(landscape_url: str) -> None:
    """Serve on standard input and output until the client goes away."""
    anyio.run(_serve, landscape_url)


async def _serve(landscape_url: str) -> None:
    server = server_of(landscape_url)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def server_of(landscape_url: str) -> Server[dict[str, Any]]:
    """A server that answers about the Landscape at this URL."""

    async def call(
        _context: ServerRequestContext[dict[str, Any]], params: CallToolRequestParams
    ) -> CallToolResult:
        return await anyio.to_thread.run_sync(answered, landscape_url, params.name, params.arguments or {})

    return Server(
        "elspeth-dagster",
        version=version("elspeth_dagster"),
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=call,
    )


async def _list_tools(
    _context: ServerRequestContext[dict[str, Any]], _params: PaginatedRequestParams | None
) -> ListToolsResult:
    return ListToolsResult(tools=[_description(tool) for tool in TOOLS])


def _description(tool: Tool) -> ToolDescription:
    return ToolDescription(
        name=tool.name,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        annotations=ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )


def answered(landscape_url: str, name: str, arguments: dict[str, Any]) -> CallToolResult:
    """The answer to one call; whatever goes wrong is an answer too, in three lines."""
    try:
        text = _answer(landscape_url, name, arguments)
    except ElspethError as error:
        return _failed(str(error))
    except Exception as error:
        logger.exception("Tool %s failed", name)
        return _failed(f"Unexpected {type(error).__name__}.\n  where: {name}\n  next:  see the server's log")
    return CallToolResult(content=[TextContent(type="text", text=text)])


def _answer(landscape_url: str, name: str, arguments: dict[str, Any]) -> str:
    tool = _BY_NAME.get(name)
    if tool is None:
        raise ElspethError(
            f"There is no tool {name[:80]!r}.", where="tools/call", hint=f"there are {', '.join(_BY_NAME)}"
        )
    try:
        asked = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))[:80]}: {one['msg']}" for one in error.errors()[:5]
        )
        raise ElspethError(
            f"The arguments of {name} do not fit: {wrong}.",
            where=name,
            hint=f"it takes {', '.join(tool.arguments.model_fields)}",
        ) from error
    with Landscape.open(landscape_url) as landscape:
        return tool.answer(landscape, asked)


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
