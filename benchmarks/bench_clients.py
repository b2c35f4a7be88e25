"""Our client beside those that people use: wall over ideal, processor time a call, calls a second. No rate limit.

    python -m benchmarks.bench_clients [--requests 1000] [--pool 32] [--repeat 3] [--only NAME ...]

Twice: against a server that takes 50 ms for an answer, where requests / pool * 50 ms is ideal, and against one that
answers at once, where only the client's own work counts. Server and client each have a process of their own; clients
take turns, and the median of each one's runs is shown. langchain lives in an environment that is made for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.clients.environment import NoEnvironmentError, bench_python
from benchmarks.clients.job import Job, Measured
from benchmarks.clients.process import ClientFailedError, run_client
from elspeth_dagster.testing import fake_model_process

CLIENTS = {
    "adaptive": "elspeth_dagster: pool and client",
    "sdk-threads": "openai SDK, threads",
    "sdk-asyncio": "openai SDK, asyncio and a semaphore",
    "sdk-aiohttp": "the same over the SDK's aiohttp",
    "langchain": "langchain ChatOpenAI.batch",
}

LATENCY_MS = 50.0

WARM_UP_POOLS = 2
"""Requests before the measured ones, in pools: every connection stands, every import is done."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--pool", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    arguments = parser.parse_args()
    pythons, absent = _pythons(arguments.only)
    for latency_ms in (LATENCY_MS, 0.0):
        ideal_s = arguments.requests / arguments.pool * latency_ms / 1000
        told = f"answers after {latency_ms:g} ms, ideal {ideal_s:.2f} s" if latency_ms else "answers at once"
        print(f"\n{arguments.requests:,} requests, {arguments.pool} in flight, {told}")
        print(f"{'':38}{'wall s':>8}{'x ideal':>9}{'CPU ms/call':>13}{'calls/s':>9}")
        with fake_model_process(latency_ms=latency_ms) as server:
            jobs = [
                Job(
                    client=name,
                    base_url=server.base_url,
                    pool_size=arguments.pool,
                    requests=arguments.requests,
                    warm_up=WARM_UP_POOLS * arguments.pool,
                )
                for name in arguments.only
            ]
            runs: dict[str, list[Measured]] = {name: [] for name in arguments.only}
            for job in jobs * arguments.repeat:
                if job.client in pythons:
                    _run(job, pythons[job.client], runs[job.client])
        for name, measured in runs.items():
            print(f"  {CLIENTS[name]:36}" + _line(measured, ideal_s, absent.get(name)))


def _pythons(names: Sequence[str]) -> tuple[dict[str, Path | None], dict[str, str]]:
    """The interpreter of each client that can run, and why the others cannot."""
    pythons: dict[str, Path | None] = {name: None for name in names if name != "langchain"}
    if "langchain" not in names:
        return pythons, {}
    try:
        pythons["langchain"] = bench_python()
    except NoEnvironmentError as error:
        return pythons, {"langchain": f"could not be installed ({error})"}
    return pythons, {}


def _run(job: Job, python: Path | None, into: list[Measured]) -> None:
    try:
        into.append(run_client(job, python=python))
    except ClientFailedError as error:
        print(f"  {error}")


def _line(measured: Sequence[Measured], ideal_s: float, absent: str | None) -> str:
    if not measured:
        return f"  {absent or 'no result'}"
    wall_s = median(one.wall_s for one in measured)
    cpu_ms = median(one.cpu_ms_per_call for one in measured)
    calls_per_s = median(one.calls_per_s for one in measured)
    lost = sum(one.lost for one in measured)
    ratio = f"{wall_s / ideal_s:9.2f}" if ideal_s else f"{'-':>9}"
    return f"{wall_s:8.2f}{ratio}{cpu_ms:13.2f}{calls_per_s:9,.0f}" + (f"   {lost} lost" if lost else "")


if __name__ == "__main__":
    main()
