"""What cannot be joined is refused when the pipeline is loaded, with its place and what to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.pipeline import Pipeline
from elspeth_dagster.pipeline.load import pipeline_from

FORK = {"kind": "fork", "from": "source", "branches": ["a", "b"]}
INNER = {"kind": "fork", "from": "split.a", "branches": ["c", "d"]}


def mapped(port: str, field: str) -> dict[str, Any]:
    return {"kind": "map", "from": port, "set": {field: "row.id"}}


def join(a: Any = "one", b: Any = "two", **more: Any) -> dict[str, Any]:
    return {"kind": "coalesce", "from": {"a": a, "b": b}, **more}


def declared(**steps: Any) -> dict[str, Any]:
    """`split -> one, two -> joined -> out`, with other steps in their place."""
    usual = {
        "split": FORK,
        "one": mapped("split.a", "x"),
        "two": mapped("split.b", "y"),
        "joined": join(),
    }
    return {
        "name": "joins",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "tags": "json?"}},
        "steps": {**usual, **steps},
        "sinks": {"out": {"kind": "csv", "from": ["joined"], "path": "out.csv"}},
    }


def load(tmp_path: Path, declaration: dict[str, Any]) -> Pipeline:
    return pipeline_from(declaration, base=tmp_path, root=tmp_path)


def mistakes(tmp_path: Path, declaration: dict[str, Any]) -> list[str]:
    with pytest.raises(DeclarationError) as refused:
        load(tmp_path, declaration)
    return list(refused.value.mistakes)


def test_a_join_knows_its_fork(tmp_path: Path) -> None:
    assert load(tmp_path, declared()).forks == {"joined": "split"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"policy": "quorum"}, "joined.policy: `policy: quorum` needs `quorum_count`"),
        ({"policy": "quorum", "quorum_count": 3}, "A quorum of 3 can never be met: the join has 2 branches."),
        ({"quorum_count": 1}, "joined.quorum_count: It goes with `policy: quorum`, not with 'require_all'."),
        ({"merge": "select"}, "joined.merge: `merge: select` needs `select_branch`"),
        ({"merge": "select", "select_branch": "aa"}, "There is no branch 'aa'. Did you mean 'a'?"),
        ({"select_branch": "a"}, "joined.select_branch: It goes with `merge: select`, not with 'union'."),
        ({"merge": "nested", "on_collision": "fail"}, "joined.on_collision: It goes with `merge: union`"),
        ({"policy": "all"}, "joined.policy"),
        ({"timeout_seconds": 0}, "joined.timeout_seconds"),
        ({"policies": "first"}, "Did you mean 'policy'?"),
    ],
)
def test_impossible_policies_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    found = mistakes(tmp_path, declared(joined=join(**more)))
    assert any(said in mistake for mistake in found), found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("one", "Expected `branch: the step that ends it` for each branch."),
        (["one", "two"], "Expected `branch: the step that ends it` for each branch."),
        ({"a": {"b": "one"}, "b": "two"}, "Expected a port"),
        ({"a": "one"}, "A join needs at least 2 branches."),
    ],
)
def test_branches_are_named(tmp_path: Path, written: Any, said: str) -> None:
    found = mistakes(tmp_path, declared(joined={"kind": "coalesce", "from": written}))
    assert any(said in mistake for mistake in found), found


def test_a_branch_that_never_rejoins_is_named_with_its_place(tmp_path: Path) -> None:
    declaration = declared(joined=join(a="two", b="one"))
    on = (
        "steps.joined.from.{}: The rows of {!r} are on branch {!r} of 'split', not on {!r}: branch {!r} never "
        "rejoins here."
    )
    assert mistakes(tmp_path, declaration) == [
        on.format("a", "two", "b", "a", "a"),
        on.format("b", "one", "a", "b", "b"),
    ]


def test_rows_on_no_branch_cannot_be_joined(tmp_path: Path) -> None:
    steps = {
        "gate": {"kind": "gate", "from": "source", "routes": {"big": "row.id > 5"}, "otherwise": "rest"},
        "split": {**FORK, "from": "gate.big"},
        "joined": join(b=["two", "gate.rest"]),
    }
    assert mistakes(tmp_path, declared(**steps)) == [
        "steps.joined.from.b: The rows of 'gate.rest' are on no branch: only what a fork has split can be joined."
    ]


def test_two_branches_meet_only_in_a_join_or_a_sink(tmp_path: Path) -> None:
    declaration = declared(joined=mapped("x", "z"))
    declaration["steps"]["joined"]["from"] = ["one", "two"]
    (mistake,) = mistakes(tmp_path, declaration)
    assert mistake == (
        "steps.joined.from: Branches 'a' and 'b' of fork 'split' meet here, as they may only in a coalesce or a sink: "
        "put a coalesce before this step."
    )
    declaration = declared()
    del declaration["steps"]["joined"]
    declaration["sinks"]["out"]["from"] = ["one", "two"]
    load(tmp_path, declaration)


def test_an_inner_fork_must_be_joined_first(tmp_path: Path) -> None:
    declaration = declared(inner=INNER, one=mapped("inner.c", "x"))
    declaration["sinks"]["rest"] = {"kind": "csv", "from": "inner.d", "path": "rest.csv"}
    assert mistakes(tmp_path, declaration) == [
        "steps.joined.from.a: The rows of 'one' are still on branch 'c' of 'inner': join the branches of 'inner' first."
    ]


def test_branches_of_two_forks_are_not_joined(tmp_path: Path) -> None:
    steps = {
        "gate": {"kind": "gate", "from": "source", "routes": {"big": "row.id > 5"}, "otherwise": "rest"},
        "split": {**FORK, "from": "gate.big"},
        "other": {**FORK, "from": "gate.rest"},
        "two": mapped("other.b", "y"),
    }
    declaration = declared(**steps)
    declaration["sinks"]["rest"] = {"kind": "csv", "from": ["split.b", "other.a"], "path": "rest.csv"}
    assert mistakes(tmp_path, declaration) == [
        "steps.joined.from.b: The rows of 'two' are on a branch of 'other', the others on branches of 'split'."
    ]


EXPAND = {"kind": "expand", "from": "split.a", "field": "tags"}
AGGREGATE = {
    "kind": "aggregate",
    "from": "split.a",
    "trigger": {"count": 5},
    "run": {"kind": "stats", "fields": ["id"]},
}


@pytest.mark.parametrize("inside", [EXPAND, AGGREGATE])
def test_what_breaks_rows_up_or_together_is_refused_inside_a_branch(
    tmp_path: Path, inside: dict[str, Any]
) -> None:
    declaration = declared(each=inside)
    declaration["steps"]["joined"]["from"]["a"] = "each"
    del declaration["steps"]["one"]
    (mistake,) = mistakes(tmp_path, declaration)
    assert mistake == (
        "steps.joined.from.a: 'each' is inside the branch 'a' of 'split': what it makes is not one row of one forked "
        "parent any more, so a join cannot tell which rows belong together. Put it behind the join, or end its branch "
        "in a sink."
    )


def test_an_expand_on_a_branch_that_ends_in_a_sink_is_fine(tmp_path: Path) -> None:
    declaration = declared(
        split={**FORK, "branches": ["a", "b", "c"]},
        each={"kind": "expand", "from": "split.c", "field": "tags"},
    )
    declaration["sinks"]["tags"] = {"kind": "csv", "from": "each", "path": "tags.csv"}
    assert load(tmp_path, declaration).forks == {"joined": "split"}


def test_a_port_has_one_taker(tmp_path: Path) -> None:
    found = mistakes(tmp_path, declared(joined=join(b="split.a")))
    assert "steps.split: 'split.a' has several takers (one, joined): put a fork behind it." in found


def test_a_step_that_is_not_there_is_told_at_its_branch(tmp_path: Path) -> None:
    found = mistakes(tmp_path, declared(joined=join(b=["tow"])))
    (mistake,) = found
    assert mistake.startswith("steps.joined.from.b.0: There is no step 'tow'. Did you mean 'two'?")


def test_fields_that_could_collide_are_warned_of(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, declared(two=mapped("split.b", "x"))).warnings
    assert str(warning) == (
        "'joined': branches 'a' and 'b' each make a field 'x'; where both are merged, the one of 'b' is taken "
        "(on_collision: last_wins). Rename one of them to keep both."
    )
    assert load(tmp_path, declared()).warnings == ()
    first = declared(two=mapped("split.b", "x"), joined=join(policy="first"))
    assert load(tmp_path, first).warnings == ()


@pytest.mark.parametrize(
    ("more", "columns"),
    [
        ({}, ("id", "tags", "x", "y")),
        ({"policy": "best_effort"}, ("id", "tags", "x", "y")),
        ({"merge": "nested"}, ("a", "b")),
        ({"merge": "select", "select_branch": "b"}, ("id", "tags", "y")),
    ],
)
def test_the_columns_of_the_merged_row_are_known(
    tmp_path: Path, more: dict[str, Any], columns: tuple[str, ...]
) -> None:
    assert load(tmp_path, declared(joined=join(**more))).nodes["joined"].columns_out == columns


def test_a_field_that_only_one_branch_makes_cannot_be_relied_on_after_first(tmp_path: Path) -> None:
    steps = {
        "joined": join(policy="first"),
        "after": {"kind": "map", "from": "joined", "set": {"z": "row.x"}},
    }
    declaration = declared(**steps)
    declaration["sinks"]["out"]["from"] = ["after"]
    (mistake,) = mistakes(tmp_path, declaration)
    assert "Field 'x' does not reach this expression. Columns there: id, tags, y." in mistake


def test_the_order_of_the_branches_is_part_of_the_decision(tmp_path: Path) -> None:
    other = {"kind": "coalesce", "from": {"b": "two", "a": "one"}}
    one, two = load(tmp_path, declared()), load(tmp_path, declared(joined=other))
    assert one.nodes["joined"].decision != two.nodes["joined"].decision
