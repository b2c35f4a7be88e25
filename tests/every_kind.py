"""A pipeline with every kind of node that asks no model; some rows fail, some are invalid, some lose a branch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.noderuns import sink, source_of


def every_kind(folder: Path, *, rows: int) -> dict[str, Any]:
    """The declaration, its files written to ``folder``."""
    (folder / "own_steps.py").write_text(
        "def doubled(row):\n"
        "    if row['id'] % 10 == 7:\n"
        "        raise ValueError('no')\n"
        "    return {**row, 'twice': row['id'] * 2}\n"
    )
    found: list[dict[str, Any]] = [{"id": index, "tags": [index, index + 1]} for index in range(rows)]
    found[3]["id"] = "three"
    return {
        "name": "away",
        "source": {**source_of(folder, found, {"id": "int", "tags": "json"}), "on_invalid": "bad"},
        "steps": {
            "doubled": {
                "kind": "python", "from": "source", "call": "own_steps:doubled", "on_error": "failures",
                "pool": {"pool_size": 2},
            },
            "split": {"kind": "fork", "from": "doubled", "branches": ["a", "b"]},
            "inner": {"kind": "fork", "from": "split.a", "branches": ["c", "d"]},
            "one": {"kind": "map", "from": "inner.c", "set": {"x": "row.id"}},
            "two": {"kind": "gate", "from": "inner.d", "routes": {"away": "row.id % 9 == 0"}, "otherwise": "on"},
            "near": {"kind": "coalesce", "from": {"c": "one", "d": "two.on"}, "policy": "best_effort"},
            "three": {"kind": "map", "from": "split.b", "set": {"y": "row.id"}},
            "join": {"kind": "coalesce", "from": {"a": "near", "b": "three"}, "on_error": "failures"},
            "kinds": {"kind": "gate", "from": "join", "routes": {"third": "row.id % 3 == 0"}, "otherwise": "rest"},
            "tags": {"kind": "expand", "from": "kinds.third", "field": "tags"},
            "fives": {
                "kind": "aggregate", "from": "kinds.rest", "trigger": {"count": 5},
                "run": {"kind": "stats", "fields": ["id"]},
            },
        },
        "sinks": {
            "out": sink("tags", "two.away", name="out"),
            "sums": sink("fives", name="sums"),
            "failures": sink(name="failures"),
            "bad": sink(name="bad"),
        },
    }  # fmt: skip
