"""The layer is light until a client is made."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_layer_loads_no_http_client() -> None:
    code = (
        "import sys, elspeth_dagster.llm; "
        "print(sorted({'openai', 'httpx2', 'httpx', 'aiohttp'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
