"""The command `elspeth-dagster`: finds the subcommand, runs it, and says in three lines what went wrong.

A subcommand is a module of this package with ``add_arguments(parser)`` and ``execute(options)``, loaded only when it is
asked for: the command itself starts at once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import Final, NoReturn

from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.terminal import safe, terminal_of
from elspeth_dagster.errors import DeclarationError, ElspethError

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "validate": ("validate", "check a declaration, and show its graph"),
    "run": ("run", "run a pipeline through Dagster"),
    "resume": ("resume", "go on with a run that did not finish"),
    "runs": ("runs", "list the latest runs"),
    "show": ("show", "one run: nodes, rows, calls, pools, cost"),
    "explain": ("explain", "the whole story of one row"),
    "failures": ("failures", "what failed in a run, and why"),
    "verify": ("verify", "prove that a run's evidence is whole and unchanged"),
    "export": ("export", "everything about a run, as files"),
    "purge": ("purge", "erase the bodies of old runs; evidence stays"),
    "db": ("db", "the Landscape's migrations"),
    "mcp": ("mcp", "serve the Landscape to agents (MCP, stdio)"),
    "fake-model": ("fake_model", "serve a fake model, for demos and tests"),
}
"""Each subcommand: its module, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a row may hold what the terminal cannot show
    status = _guarded(arguments)
    if argv is None:
        # The process ends: an interrupt that comes now must not take the place of the status.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _run(arguments: Sequence[str]) -> int:
    parser, execute = _parser(arguments)
    options = parser.parse_args(arguments)
    if execute is None:
        parser.print_help()
        return Exit.REFUSED if arguments else Exit.COMPLETE
    with _terminable():
        return int(execute(options))


class _UsageError(Exception):
    """What was typed cannot be understood. ``usage`` says what can be."""

    def __init__(self, what: str, usage: str) -> None:
        super().__init__(what)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would end the process: with ``--json`` even a slip of the pen is a document."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: error: {message}", self.format_usage())


Execute = Callable[[argparse.Namespace], int]


def _parser(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, Execute | None]:
    """The parser, with the options of the one command that ``arguments`` name."""
    parser = _Parser(
        prog="elspeth-dagster",
        description="Audited row-by-row decisions, by models and rules, as Dagster assets.",
        epilog="`elspeth-dagster COMMAND --help` shows a command's options.",
    )
    parser.add_argument(
        "--version", action="version", version=f"elspeth-dagster {version('elspeth_dagster')}"
    )
    _add_common(parser, default=None)
    chosen = next((name for name in arguments if name in COMMANDS), None)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    execute: Execute | None = None
    for name, (module_name, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        # The same options behind the command; they must not set back what was given before it.
        _add_common(command, default=argparse.SUPPRESS)
        if name == chosen:
            module = import_module(f"elspeth_dagster.cli.{module_name}")
            module.add_arguments(command)
            execute = module.execute
    return parser, execute


def _add_common(parser: argparse.ArgumentParser, *, default: object) -> None:
    common = parser.add_argument_group("everywhere")
    common.add_argument(
        "--landscape",
        metavar="URL",
        default=default,
        help="the audit database; else ELSPETH_LANDSCAPE_URL, else .elspeth/landscape.db in the project",
    )
    common.add_argument(
        "--debug", action="store_true", default=default or False, help="show tracebacks and Dagster's own log"
    )


def _guarded(arguments: Sequence[str]) -> int:
    """Run the command, and say what went wrong if something does; with ``--debug``, let it through."""
    is_debug, is_json = "--debug" in arguments, "--json" in arguments
    try:
        return _run(arguments)
    except ElspethError as error:
        if is_debug:
            raise
        _say(error, as_json=is_json)
        return Exit.REFUSED
    except _UsageError as error:
        sys.stderr.write(f"{error.usage}{error}\n")
        if is_json:
            _print_error("usage", str(error), where=None, hint=error.usage.strip())
        return Exit.REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except Exception as error:
        if is_debug:
            raise
        what = " ".join(str(error).split())[:300] or "no message"
        sys.stderr.write(
            f"Unexpected {type(error).__name__}: {what}\n  next: run again with --debug for the traceback\n"
        )
        return Exit.FAILED


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what is in flight is recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(error: ElspethError, *, as_json: bool) -> None:
    what, *more = str(error).splitlines()
    terminal = terminal_of(sys.stderr)
    terminal.line(safe(what), "bold red")
    for line in more:
        terminal.line(safe(line))
    if as_json:
        mistakes = list(error.mistakes) if isinstance(error, DeclarationError) else []
        _print_error(error.code, error.what, where=error.where, hint=error.hint, mistakes=mistakes)


def _print_error(
    code: str, what: str, *, where: str | None, hint: str | None, mistakes: Sequence[str] = ()
) -> None:
    """The one document that a command with ``--json`` prints when it is refused."""
    said = {"code": code, "what": what, "where": where, "next": hint, "mistakes": list(mistakes)}
    document = {"error": said, "exit_status": int(Exit.REFUSED)}
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
