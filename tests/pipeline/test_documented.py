"""Every pipeline that the README and the tutorial show can be loaded as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth_dagster.pipeline.load import pipeline_from

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def shown(page: str) -> list[dict[str, Any]]:
    """The YAML blocks of a page, without the frame of a component."""
    blocks = [yaml.safe_load(block) for block in BLOCK.findall((ROOT / page).read_text("utf-8"))]
    return [block.get("attributes", block) for block in blocks]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_a_whole_pipeline_can_be_loaded(page: str, tmp_path: Path) -> None:
    whole = [block for block in shown(page) if "steps" in block and "source" in block]
    assert whole
    for block in whole:
        pipeline_from(block, base=tmp_path, root=tmp_path)


def test_the_tutorials_branches_fit_into_its_pipeline(tmp_path: Path) -> None:
    blocks = [block for block in shown("docs/tutorial.md") if "steps" in block]
    (whole,) = [block for block in blocks if "source" in block]
    (branches,) = [block for block in blocks if "source" not in block]
    model = {"defect": {"model": "default"}, "tone": {"model": "default"}}
    steps = {name: {**step, **model.get(name, {})} for name, step in branches["steps"].items()}
    triage = {**whole["steps"]["triage"], "routes": {"repair": "row.defect and row.tone != 'content'"}}
    whole["steps"] = {**steps, "triage": triage}
    del whole["sinks"]["failures"]
    assert pipeline_from(whole, base=tmp_path, root=tmp_path).forks == {"judged": "views"}
