"""Node configurations from the keys of a declaration, and a folder for them to live in."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth_dagster.nodes.base import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A declaration's folder that is a project of its own."""
    return Home(base=tmp_path, root=tmp_path)
