"""An asset's code version changes when, and only when, what its node does changes: every key of every kind.

So "unsynced" in Dagster means that a new run could bring something else, and nothing less.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.nodes.kinds import SINK_KINDS, SOURCE_KINDS, STEP_KINDS
from elspeth_dagster.orchestration.specs import code_version
from elspeth_dagster.pipeline import pipeline_from

Declaration = dict[str, Any]
Changes = Mapping[str, tuple[Declaration, bool]]

CASES = {"case_studies": [{"name": "one", "x": 1}], "criteria": [{"name": "clear"}]}

BASE: Declaration = {
    "name": "p",
    "models": {"default": {"model": "m", "price": {"input": 2, "output": 2}}, "other": {"model": "n"}},
    "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str", "list": "json"}},
    "steps": {},
    "sinks": {"out": {"kind": "jsonl", "from": "node", "path": "out.jsonl"}},
}
SPARE = {"kind": "jsonl", "path": "spare.jsonl"}

FORKED: Declaration = {
    "split": {"kind": "fork", "from": "source", "branches": ["a", "b", "c"]},
    "one": {"kind": "map", "from": "split.a"},
    "two": {"kind": "map", "from": "split.b"},
    "three": {"kind": "map", "from": "split.c"},
}
JOIN = {"a": "one", "b": "two", "c": "three"}

# For each kind: the node, and for each of its keys a change: what the node is with it. True: it does something else.
STEP: Changes = {
    "from": ({"from": "tidy"}, True),
    "on_error": ({"on_error": "spare"}, True),
    "description": ({"description": "Said otherwise."}, False),
    "max_error_rate": ({"max_error_rate": 0.9}, False),
}
FILE: Changes = {"path": ({"path": "else.csv"}, True), "allow_outside": ({"allow_outside": True}, False)}
DATABASE: Changes = {
    "url": ({"url": "sqlite:///else.db"}, True),
    "url_env": ({"url": None, "url_env": "WAREHOUSE_URL"}, True),
    "schema": ({"schema": "main"}, True),
    "allow_outside": ({"allow_outside": True}, False),
}
TOLD: Changes = {"description": ({"description": "Said otherwise."}, False)}
SOURCE: Changes = {
    "columns": ({"columns": {"id": "str", "text": "str", "list": "json"}}, True),
    "extra_columns": ({"extra_columns": "drop"}, True),
    "on_invalid": ({"on_invalid": "spare"}, True),
    **TOLD,
}
SOURCES: Mapping[str, tuple[Declaration, Changes]] = {
    "csv": (
        {"path": "in.csv"},
        {
            **SOURCE,
            **FILE,
            "delimiter": ({"delimiter": ";"}, True),
            "encoding": ({"encoding": "latin-1"}, True),
        },
    ),
    "jsonl": ({"path": "in.jsonl"}, {**SOURCE, **FILE}),
    "parquet": ({"path": "in.parquet"}, {**SOURCE, **FILE}),
    "sql": (
        {"url": "sqlite:///i.db", "table": "t", "order_by": "id"},
        {
            **SOURCE,
            **DATABASE,
            "table": ({"table": "u"}, True),
            "query": ({"table": None, "query": "SELECT id, text FROM t"}, True),
            "order_by": ({"order_by": ["text", "id"]}, True),
        },
    ),
    "asset": (
        {"asset": ["a", "b"]},
        {**SOURCE, "asset": ({"asset": ["a", "c"]}, True), "allow_outside": FILE["allow_outside"]},
    ),
}
SINKS: Mapping[str, tuple[Declaration, Changes]] = {
    "csv": (
        {"path": "o.csv"},
        {**TOLD, **FILE, "from": ({"from": ["node"]}, False), "columns": ({"columns": ["id"]}, True)},
    ),
    "jsonl": ({"path": "o.jsonl"}, {**TOLD, **FILE, "from": ({"from": ["node"]}, False)}),
    "parquet": (
        {"path": "o.parquet"},
        {
            **TOLD,
            **FILE,
            "from": ({"from": ["node"]}, False),
            "columns": ({"columns": {"id": "int"}}, True),
        },
    ),
    "sql": (
        {"url": "sqlite:///o.db", "table": "t"},
        {
            **TOLD,
            **DATABASE,
            "from": ({"from": ["node"]}, False),
            "table": ({"table": "u"}, True),
            "mode": ({"mode": "append"}, True),
            "columns": ({"columns": {"id": "int"}}, True),
        },
    ),
}
STEPS: Mapping[str, tuple[Declaration, Changes]] = {
    "map": (
        {},
        {**STEP, "rename": ({"rename": {"text": "words"}}, True), "drop": ({"drop": ["text"]}, True),
         "set": ({"set": {"x": "row.id + 1"}}, True)},
    ),
    "keyword_filter": (
        {"fields": ["text"], "patterns": ["x"]},
        {**STEP, "fields": ({"fields": ["text", "list"]}, True), "patterns": ({"patterns": ["y"]}, True)},
    ),
    "expand": ({"field": "list"}, {**STEP, "field": ({"field": "text"}, True)}),
    "gate": (
        {"routes": {"some": "row.id > 1"}, "otherwise": "rest"},
        {**STEP, "routes": ({"routes": {"some": "row.id > 2"}}, True), "otherwise": ({"otherwise": "some"}, True)},
    ),
    "fork": ({"branches": ["some", "rest"]}, {**STEP, "branches": ({"branches": ["rest", "some"]}, True)}),
    "python": (
        {"call": "rules:judge"},
        {**STEP, "call": ({"call": "rules:other"}, True), "batch": ({"batch": True}, True),
         "columns": ({"columns": ["id"]}, True), "pool": ({"pool": {"pool_size": 3}}, False),
         "determinism": ({"determinism": "nondeterministic"}, False)},
    ),
    "llm": (
        {"prompt": "{{ row.text }}", "answer": {"a": "int"}},
        {**STEP,
         "model": ({"model": "other"}, True),
         "prompt": ({"prompt": "So: {{ row.text }}"}, True),
         "prompt_file": ({"prompt": None, "prompt_file": "prompt.txt"}, True),
         "system": ({"system": "Be brief."}, True),
         "lookup": ({"lookup": {"rates": {"NZ": 1}}}, True),
         "answer": ({"answer": {"a": "float"}}, True),
         "queries": ({"prompt": None, "answer": None, "queries": {"q": {"prompt": "?", "answer": {"a": "int"}}}}, True),
         "case_studies": (CASES, True),
         "criteria": ({**CASES, "criteria": [{"name": "true"}]}, True),
         "temperature": ({"temperature": 0.5}, True),
         "max_tokens": ({"max_tokens": 9}, True),
         "answer_attempts": ({"answer_attempts": 3}, True),
         "reuse": ({"reuse": True}, True),
         "echo_id": ({"echo_id": True}, True),
         "budget_usd": ({"budget_usd": 3.0}, False),
         "budget_tokens": ({"budget_tokens": 3}, False),
         "pool": ({"pool": {"pool_size": 3, "throttle": "aimd"}}, False)},
    ),
    "coalesce": (
        {"from": JOIN},
        {**STEP,
         "from": ({"from": {"b": "two", "a": "one", "c": "three"}}, True),
         "policy": ({"policy": "best_effort"}, True),
         "quorum_count": ({"policy": "quorum", "quorum_count": 2}, True),
         "timeout_seconds": ({"timeout_seconds": 5}, True),
         "merge": ({"merge": "nested"}, True),
         "on_collision": ({"on_collision": "fail"}, True),
         "select_branch": ({"merge": "select", "select_branch": "a"}, True)},
    ),
    "aggregate": (
        {"trigger": {"count": 3}, "run": {"kind": "python", "call": "rules:judge"}},
        {**STEP,
         "trigger": ({"trigger": {"count": 4}}, True),
         "group_by": ({"group_by": ["text"]}, True),
         "output_mode": ({"output_mode": "passthrough"}, True),
         "expected_output_count": ({"expected_output_count": 1}, True),
         "run": ({"run": {"kind": "python", "call": "rules:other"}}, True)},
    ),
}  # fmt: skip


def declared(section: str, kind: str, node: Declaration) -> Declaration:
    """A pipeline around the node, which is called `node` where it is a step."""
    made = copy.deepcopy(BASE)
    takes = ["node.some", "node.rest"] if kind in {"gate", "fork"} else "node"
    given = {"kind": kind, **node}
    given = {key: value for key, value in given.items() if value is not None}
    if section == "steps":
        made["steps"] = {"tidy": {"kind": "map", "from": "source"}, "node": {"from": "source", **given}}
        if kind == "coalesce":
            made["steps"] = {**copy.deepcopy(FORKED), "node": given}
        if given.get("otherwise") == "some":
            takes = "node.some"
        if given.get("from") != "tidy":
            made["steps"].pop("tidy", None)
        made["sinks"]["out"]["from"] = takes
    elif section == "source":
        made["steps"] = {"node": {"kind": "map", "from": "source"}}
        made["source"] = {"columns": BASE["source"]["columns"], **given}
    else:
        made["steps"] = {"node": {"kind": "map", "from": "source"}}
        made["sinks"] = {"out": {"from": "node", **given}}
    if "spare" in (given.get("on_error"), given.get("on_invalid")):
        made["sinks"]["spare"] = dict(SPARE)
    return made


def version(folder: Path, declaration: Declaration, node_id: str) -> str:
    return code_version(pipeline_from(declaration, base=folder, root=folder).nodes[node_id])


SECTIONS: Mapping[str, tuple[Mapping[str, tuple[Declaration, Changes]], Mapping[str, Any], str]] = {
    "source": (SOURCES, SOURCE_KINDS, "source"),
    "steps": (STEPS, STEP_KINDS, "node"),
    "sinks": (SINKS, SINK_KINDS, "out"),
}
EVERY_CHANGE = [
    pytest.param(section, kind, key, id=f"{section}-{kind}-{key}")
    for section, (specimens, kinds, _) in SECTIONS.items()
    for kind, (_, changes) in specimens.items()
    if kind in kinds
    for key in changes
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(
        "def judge(row):\n    return row\n\n\ndef other(row):\n    return {**row}\n"
    )
    (tmp_path / "prompt.txt").write_text("Then: {{ row.text }}")
    return tmp_path


@pytest.mark.parametrize(("section", "kind", "key"), EVERY_CHANGE)
def test_a_key_changes_the_version_if_it_changes_what_the_node_does(
    folder: Path, section: str, kind: str, key: str
) -> None:
    specimens, _, node_id = SECTIONS[section]
    node, changes = specimens[kind]
    change, does_differ = changes[key]
    before = version(folder, declared(section, kind, node), node_id)
    after = version(folder, declared(section, kind, {**node, **change}), node_id)
    assert (before != after) is does_differ


@pytest.mark.parametrize("section", SECTIONS)
def test_no_key_of_a_kind_is_left_out(section: str) -> None:
    """A new key has to say here whether it changes what its node does."""
    specimens, kinds, _ = SECTIONS[section]
    for kind, (_, changes) in specimens.items():
        if kind in kinds:
            fields = kinds[kind].model_fields
            keys = {field.alias or name for name, field in fields.items() if not field.exclude} - {"kind"}
            assert keys == set(changes), kind


@pytest.mark.parametrize(
    ("change", "does_differ"),
    [
        ({"dagster": {"tags": {"a": "b"}, "owners": ["team:x"], "retries": 2, "pool": "openai"}}, False),
        ({"description": "A pipeline.", "schedule": "0 6 * * *", "execution": {"executor": "multiprocess"}}, False),
        ({"models": {**BASE["models"], "default": {"model": "m", "price": {"input": 1, "output": 2}}}}, False),
        ({"models": {**BASE["models"], "default": {"model": "m", "timeout_s": 9, "api_key_env": "KEY"}}}, False),
        ({"models": {**BASE["models"], "default": {"model": "mm"}}}, True),
        ({"models": {**BASE["models"], "default": {"model": "m", "base_url": "http://127.0.0.1:1/v1"}}}, True),
    ],
)  # fmt: skip
def test_of_what_is_said_beside_the_node_only_its_model_counts(
    folder: Path, change: Declaration, *, does_differ: bool
) -> None:
    before = declared("steps", "llm", STEPS["llm"][0])
    assert (version(folder, {**before, **change}, "node") != version(folder, before, "node")) is does_differ


def test_what_lies_in_files_counts_by_its_content(folder: Path) -> None:
    asked = declared("steps", "llm", {"prompt_file": "prompt.txt", "answer": {"a": "int"}})
    called = declared("steps", "python", STEPS["python"][0])
    before = version(folder, asked, "node"), version(folder, called, "node")
    (folder / "prompt.txt").write_text("And then: {{ row.text }}")
    (folder / "rules.py").write_text((folder / "rules.py").read_text() + "# the end\n")
    assert version(folder, asked, "node") != before[0]
    assert version(folder, called, "node") == before[1]
    (folder / "rules.py").write_text("def judge(row):\n    return {**row, 'x': 1}\n")
    assert version(folder, called, "node") != before[1]
