"""What importing costs: nothing heavy is loaded before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("openai", "pandas", "alembic", "dagster", "sqlalchemy", "jinja2", "rich")


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import elspeth_dagster", set()),
        ("import elspeth_dagster.cli.main", set()),
        ("from elspeth_dagster import load_pipeline", set()),
        ("from elspeth_dagster.pooling import PoolConfig", set()),
        ("from elspeth_dagster import PipelineComponent", {"dagster", "rich"}),
    ],
)
def test_importing_loads_nothing_heavy_that_is_not_needed_yet(statement: str, allowed: set[str]) -> None:
    code = f"{statement}\nimport sys\nimport json\nprint(json.dumps(sorted({set(HEAVY)!r} & sys.modules.keys())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) <= allowed


def test_every_public_name_is_there() -> None:
    import elspeth_dagster  # noqa: PLC0415

    for name in elspeth_dagster.__all__:
        assert getattr(elspeth_dagster, name) is not None
    assert len(elspeth_dagster.__all__) <= 20
    with pytest.raises(AttributeError):
        _ = elspeth_dagster.no_such_name
