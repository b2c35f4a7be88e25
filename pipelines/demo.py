"""What `make demo` and `make ui` run: the fake model server, and the complaints pipeline beside it.

The server listens where the pipeline's declaration says its model is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.pipeline import load_pipeline
from elspeth_dagster.testing import fake_model_process, preset

PROJECT = Path(__file__).parents[1]
DECLARATION = PROJECT / "pipelines" / "defs" / "complaints" / "defs.yaml"
BIN = Path(sys.executable).parent

# Half of all refusals come back sound when asked again: a few rows fail for good, as in real life.
FAULTS = {"http_500": 0.004, "reset": 0.001, "refusal": 0.04, "answer_truncated": 0.01, "length": 0.01}
WEATHER = preset("busy", rate_per_s=400, burst=40, latency_ms=60, faults=FAULTS)


def main() -> int:
    """Run the pipeline, or the UI."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--ui", action="store_true", help="start Dagster's UI instead of running the pipeline"
    )
    arguments = parser.parse_args()
    os.chdir(PROJECT)
    model = load_pipeline(DECLARATION).head.models["default"]
    work = _ui if arguments.ui else _run
    try:
        if _is_up(model.address):
            print(f"A fake model server answers at {model.address} already", flush=True)
            return work()
        with fake_model_process(WEATHER, port=urlsplit(model.address).port or 0) as server:
            print(f"The fake model server answers at {server.base_url}", flush=True)
            return work()
    except ElspethError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _is_up(address: str) -> bool:
    """Whether a fake model listens there: `make ui` in one terminal and `make demo` in another share it."""
    try:
        with urllib.request.urlopen(f"{address.removesuffix('/v1')}/health", timeout=2) as answer:  # noqa: S310
            return b"fake" in answer.read(1000)
    except OSError:
        return False


def _run() -> int:
    command = [str(BIN / "elspeth-dagster"), "run", str(DECLARATION.relative_to(PROJECT))]
    status = subprocess.call(command)  # noqa: S603 - our own command line
    return 0 if status == 3 else status


def _ui() -> int:
    print("Dagster's UI comes up at http://127.0.0.1:3000 ; Ctrl-C ends it and the server", flush=True)
    return subprocess.call([str(BIN / "dagster"), "dev", "-w", "workspace.yaml", "-p", "3000"])  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
