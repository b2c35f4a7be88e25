"""Audited rows per second: csv -> map -> gate -> csv through Dagster, with every record that a real run has.

    python -m benchmarks.audited_rows [--rows 100000] [--postgres | --landscape URL] [--skip-bare] [--in FOLDER]

Prints the wall and processor time of the whole run, per node the statements and transactions, the process's peak memory
at a tenth of the rows and at all of them (it must not grow with rows), and how long `verify` takes. Beside it, in the
same minute, the same records once more into an empty Landscape (the same tables, indexes, triggers and foreign keys):
with plain executemany, and through the writer alone. ``--postgres`` starts a server from its wheel in a temporary
folder, with fsync on; a URL must name an empty database that may be filled.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bare_inserts import Copied, copied
from benchmarks.clients.process import ROOT
from benchmarks.rows_run import Measured, measure, write_pipeline
from benchmarks.temporary_postgres import Server, running_server


def main() -> None:
    """Run the pipeline in processes of their own, small then large, and the bare inserts beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own")
    parser.add_argument("--landscape", metavar="URL", help="an empty database, instead of one of its own")
    parser.add_argument("--skip-bare", action="store_true", help="without the same records beside it")
    parser.add_argument("--in", dest="folder", type=Path, help="where the databases lie for the time")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(dataclasses.asdict(measure(arguments.worker, arguments.landscape))))
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        server = stack.enter_context(running_server(folder)) if arguments.postgres else None
        urls = _urls(folder, server, arguments.landscape)
        small_peak_mib = None
        if arguments.landscape is None:
            small_peak_mib = _run(folder / "small", arguments.rows // 10, next(urls)).peak_mib
        url = next(urls)
        large = _run(folder / "large", arguments.rows, url)
        _show(large, arguments.rows, small_peak_mib)
        if not arguments.skip_bare and arguments.landscape is None:
            _show_beside(large, [copied(url, next(urls), how=how) for how in ("executemany", "writer")])


def _urls(folder: Path, server: Server | None, given: str | None) -> Iterator[str]:
    """An empty database each."""
    if given is not None:
        yield given
        return
    for number in range(4):
        yield f"sqlite:///{folder / f'landscape-{number}.db'}" if server is None else server.empty_database()


def _run(home: Path, rows: int, url: str) -> Measured:
    write_pipeline(home, rows)
    command = [sys.executable, "-m", "benchmarks.audited_rows", "--worker", str(home), "--landscape", url]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return Measured(**json.loads(told.stdout.splitlines()[-1]))


def _show(took: Measured, rows: int, small_peak_mib: float | None) -> None:
    print(f"csv -> map -> gate -> csv, {rows:,} rows, full audit on {took.database}")
    print(
        f"  rows per second       {rows / took.wall_s:>10,.0f}   (wall of the Dagster run {took.wall_s:.1f} s)"
    )
    print(
        f"  processor time        {took.cpu_s / rows * 1e6:>10,.0f}   us a row, all threads of the run's process"
    )
    print(f"  records               {took.records:>10,}   ({took.records / rows:.1f} a row)")
    print(f"  audited records/s     {took.records / took.wall_s:>10,.0f}")
    print(f"  database              {took.size_bytes / rows:>10,.0f}   bytes a row")
    at_a_tenth = "" if small_peak_mib is None else f" ({small_peak_mib:.0f} MiB at a tenth of the rows)"
    print(f"  peak memory           {took.peak_mib:>10,.0f}   MiB{at_a_tenth}")
    print(f"  verify                {took.verify_s:>10.1f}   s, {took.findings} findings")
    print(f"  {'node':<12}{'seconds':>9}{'statements a row':>19}{'transactions a row':>21}")
    for node in took.nodes:
        print(
            f"  {node['node_id']:<12}{node['seconds']:>9.2f}{node['statements'] / max(1, node['rows']):>19.4f}"
            f"{node['transactions'] / max(1, node['rows']):>21.4f}"
        )


def _show_beside(run: Measured, ways: list[Copied]) -> None:
    bare_per_s = ways[0].records / ways[0].seconds
    print("  the same records into the same tables:")
    for way in ways:
        print(f"    {way.how:<20}{way.records / way.seconds:>10,.0f}   records/s", end="")
        print(f"   {way.records / way.seconds / bare_per_s:.2f} of executemany")
    print(f"    {'the whole run':<20}{run.records / run.wall_s:>10,.0f}   records/s", end="")
    print(f"   {run.records / run.wall_s / bare_per_s:.2f} of executemany")


if __name__ == "__main__":
    main()
