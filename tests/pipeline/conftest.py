"""Declarations in a folder of their own, and what loading says of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.pipeline import Pipeline, load_pipeline

Load = Callable[[str], Pipeline]
Mistakes = Callable[[str], tuple[str, ...]]

GOOD = """\
name: bank
models:
  default: {provider: openai, model: m, base_url: "http://127.0.0.1:1/v1", api_key_env: null}
source:
  kind: csv
  path: in.csv
  columns: {id: int, text: str, amount: float?}
  on_invalid: bad
steps:
  tidy: {kind: map, from: source, set: {length: "row.text | length"}}
  judge:
    kind: llm
    from: tidy
    prompt: "How urgent is this? {{ row.text }}"
    answer: {urgency: {type: int, minimum: 1, maximum: 5}}
    pool: {pool_size: 4}
    on_error: failures
  triage:
    kind: gate
    from: judge
    routes: {urgent: "row.urgency >= 4"}
    otherwise: normal
sinks:
  urgent: {kind: csv, from: triage.urgent, path: out/urgent.csv}
  normal: {kind: jsonl, from: triage.normal, path: out/normal.jsonl}
  failures: {kind: jsonl, path: out/failures.jsonl}
  bad: {kind: jsonl, path: out/bad.jsonl}
"""
"""A declaration without mistakes; tests change a line of it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder."""
    (tmp_path / "project" / "defs").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    return tmp_path / "project" / "defs"


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def load(folder: Path) -> Load:
    """Load a declaration's text."""

    def loaded(text: str) -> Pipeline:
        file = folder / "p.yaml"
        file.write_text(textwrap.dedent(text), "utf-8")
        return load_pipeline(file)

    return loaded


@pytest.fixture
def mistakes(load: Load) -> Mistakes:
    """What loading finds wrong with a declaration's text."""

    def found(text: str) -> tuple[str, ...]:
        with pytest.raises(DeclarationError) as raised:
            load(text)
        return raised.value.mistakes

    return found
