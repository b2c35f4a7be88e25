"""An environment for what is compared with and is no dependency of ours: made when first wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.clients.process import ROOT

BENCH_VENV = ROOT / ".elspeth" / "bench-venv"

PACKAGES = ("langchain-openai",)

INSTALL_S_MAX = 150.0
"""A slow mirror; without langchain the others are still compared."""


class NoEnvironmentError(Exception):
    """It could not be made; the last line of what pip said."""


def bench_python() -> Path:
    """The interpreter of that environment.

    Raises:
        NoEnvironmentError: it is not there and could not be made.
    """
    python = BENCH_VENV / "bin" / "python"
    if not _has_langchain(python):
        print(f"Installing {', '.join(PACKAGES)} into {BENCH_VENV.relative_to(ROOT)} (once)", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(BENCH_VENV)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
    return python


def _has_langchain(python: Path) -> bool:
    if not python.exists():
        return False
    found = subprocess.run([str(python), "-c", "import langchain_openai"], capture_output=True, check=False)
    return found.returncode == 0


def _run(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S_MAX)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise NoEnvironmentError(type(error).__name__) from None
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        raise NoEnvironmentError(lines[-1] if lines else f"exit {ended.returncode}")
