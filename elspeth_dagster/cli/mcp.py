"""`elspeth-dagster mcp`: serve the Landscape to agents, over standard input and output."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.errors import ElspethError

SERVER = "elspeth_dagster.mcp.server"
"""Loaded by name: the command line and the server are siblings, and the server needs an extra."""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes only what every command takes."""


def execute(options: argparse.Namespace) -> int:
    """Serve until the client closes standard input."""
    settings = settings_for(options, Path.cwd())
    try:
        server = import_module(SERVER)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"mcp", "mcp_types", "anyio"}:
            raise
        raise ElspethError(
            "The MCP server needs the package `mcp`, which is not installed.",
            where="elspeth-dagster mcp",
            hint="pip install 'elspeth_dagster[mcp]'",
        ) from error
    server.serve(settings.landscape_url)
    return Exit.COMPLETE
