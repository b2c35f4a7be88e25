"""The fake model on the command line: ``elspeth-dagster fake-model``, or this module with ``python -m``.

Prints one JSON line on stdout (``base_url``, ``port``) once it listens, for programs, and one for people on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.faults import Fault, fault_named
from elspeth_dagster.testing.model import FakeModel
from elspeth_dagster.testing.presets import PRESETS, preset
from elspeth_dagster.testing.server import serve_until
from elspeth_dagster.testing.settings import FakeModelSettings, RetryAfter, overridden

EXIT_REFUSED = 2
PARENT_POLL_S = 1.0
"""How soon a server without its parent notices."""

_OPTIONS: Mapping[str, tuple[str, type, str]] = {
    "--seed": ("seed", int, "other answers, latencies and faults"),
    "--latency-ms": ("latency_ms", float, "median time to an answer"),
    "--latency-spread": ("latency_spread", float, "0: constant; else the sigma of a lognormal"),
    "--rate": ("rate_per_s", float, "requests a second; beyond it 429"),
    "--burst": ("burst", float, "requests that may come at once"),
    "--concurrency": ("concurrency_max", int, "requests in flight; beyond it 429"),
    "--always": ("always", int, "answer everything with this status"),
    "--drop-after": ("drop_after", int, "go away after this many requests"),
    "--hang-s": ("hang_s", float, "how long the fault 'hang' hangs"),
    "--slow-body-s": ("slow_body_s", float, "how long the fault 'slow_body' takes"),
    "--api-key": ("api_key", str, "other keys get 401"),
}
"""Option to setting, type and help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--preset", default="calm", help=f"the weather: {', '.join(PRESETS)} (default: calm)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, default=8081, help="port to listen on; 0: a free one (default: 8081)"
    )
    for option, (name, kind, text) in _OPTIONS.items():
        parser.add_argument(option, dest=name, type=kind, help=text)
    parser.add_argument("--retry-after", help=f"how a 429 says when: {', '.join(RetryAfter)}")
    parser.add_argument(
        "--announce-headers", action="store_true", default=None, help="send x-ratelimit-* headers"
    )
    parser.add_argument(
        "--charge-rejected", action="store_true", default=None, help="a 429 costs a token too"
    )
    parser.add_argument(
        "--rate-step", action="append", metavar="SECONDS=RATE", help="another rate from then on; repeatable"
    )
    parser.add_argument(
        "--fault", action="append", metavar="NAME=PROBABILITY", help=f"repeatable: {', '.join(Fault)}"
    )
    parser.add_argument("--model", action="append", metavar="NAME", help="know only this model; repeatable")
    parser.add_argument(
        "--settings", metavar="FILE", help="a JSON file of settings instead of a preset; - is stdin"
    )
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the process that started it does"
    )


def chosen_settings(options: argparse.Namespace) -> FakeModelSettings:
    """The preset or the file, with the options on top.

    Raises:
        LaunchError: a name or a value is wrong, or the file cannot be read.
    """
    names = {one.name for one in dataclasses.fields(FakeModelSettings)}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    base = preset(options.preset) if options.settings is None else _from_file(options.settings)
    if options.fault:
        given["faults"] = dict(base.faults) | dict(_fault(text) for text in options.fault)
    if options.rate_step:
        given["rate_steps"] = [_pair(text, "--rate-step") for text in options.rate_step]
    if options.model:
        given["models"] = options.model
    return overridden(base, given)


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit status: 0, or 2 when the options or the port are wrong."""
    try:
        return asyncio.run(_serve(options, chosen_settings(options)))
    except LaunchError as problem:
        print(f"error: {problem.what}", file=sys.stderr)
        if problem.hint:
            print(f"  next: {problem.hint}", file=sys.stderr)
        return EXIT_REFUSED


def main(argv: Sequence[str] | None = None) -> int:
    """The command by itself."""
    parser = argparse.ArgumentParser(
        prog="fake-model", description="A fake OpenAI-compatible model server for demos and tests."
    )
    add_arguments(parser)
    return serve(parser.parse_args(argv))


async def _serve(options: argparse.Namespace, settings: FakeModelSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    watch = asyncio.create_task(_end_with_parent(stop)) if options.die_with_parent else None
    try:
        await serve_until(
            stop,
            model=FakeModel(settings),
            host=options.host,
            port=options.port,
            started=lambda port: _announce(options, port),
        )
    finally:
        if watch is not None:
            watch.cancel()
    return 0


def _announce(options: argparse.Namespace, port: int) -> None:
    root_url = f"http://{options.host}:{port}"
    weather = "own settings" if options.settings else options.preset
    lines = f"Fake model ({weather}) at {root_url}/v1 - counts at {root_url}/stats - stop with Ctrl-C\n"
    sys.stderr.write(lines)
    sys.stderr.flush()
    # A reader that went away is no reason to stop serving.
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps({"base_url": f"{root_url}/v1", "port": port}) + "\n")
        sys.stdout.flush()


async def _end_with_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells an orphan; it has to look
        await asyncio.sleep(PARENT_POLL_S)
    stop.set()


def _from_file(name: str) -> FakeModelSettings:
    try:
        given = json.loads(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LaunchError(
            f"The settings in {name} cannot be read: {problem}", hint="give a JSON file"
        ) from problem
    if not isinstance(given, dict):
        raise LaunchError(f"The settings in {name} are not a JSON object.", hint='write {"latency_ms": 50}')
    return overridden(FakeModelSettings(), given)


def _fault(text: str) -> tuple[Fault, float]:
    name, _, chance = text.partition("=")
    fault = fault_named(name)
    try:
        return fault, float(chance)
    except ValueError:
        raise LaunchError(f"--fault {text} has no probability.", hint=f"write --fault {name}=0.01") from None


def _pair(text: str, option: str) -> tuple[float, float]:
    first, _, second = text.partition("=")
    try:
        return float(first), float(second)
    except ValueError:
        raise LaunchError(f"{option} {text} is not two numbers.", hint=f"write {option} 10=30") from None


if __name__ == "__main__":
    sys.exit(main())
