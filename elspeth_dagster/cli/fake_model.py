"""`elspeth-dagster fake-model`: an OpenAI-compatible server for demos and tests."""

from __future__ import annotations

from elspeth_dagster.testing.fake_model import add_arguments
from elspeth_dagster.testing.fake_model import serve as execute

__all__ = ["add_arguments", "execute"]
