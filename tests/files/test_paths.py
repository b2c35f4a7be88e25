"""Declared paths stay inside the project, and no partition key climbs out of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.files import placeholders, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project" / "defs").mkdir(parents=True)
    return tmp_path / "project"


def _resolved(root: Path, path: str, *, partition: str | None = None, run_id: str | None = None) -> str:
    found = resolve(path, base=root / "defs", root=root, partition=partition, run_id=run_id)
    return str(found.relative_to(root))


def test_a_path_starts_at_the_declarations_folder(root: Path) -> None:
    assert _resolved(root, "data/in.csv") == "defs/data/in.csv"
    assert _resolved(root, "../out/x.csv") == "out/x.csv"
    assert _resolved(root, str(root / "abs.csv")) == "abs.csv"


@pytest.mark.parametrize("path", ["../../x.csv", "/etc/passwd", "a/../../../x.csv", "link/x.csv"])
def test_a_path_that_leads_out_of_the_project_is_refused_unless_allowed(root: Path, path: str) -> None:
    (root / "defs" / "link").symlink_to(root.parent)

    with pytest.raises(ValueError, match="outside of the project"):
        resolve(path, base=root / "defs", root=root)

    assert resolve(path, base=root / "defs", root=root, allow_outside=True).is_absolute()


def test_a_project_behind_a_link_is_still_the_project(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)

    assert resolve("in.csv", base=root.parent / "alias" / "defs", root=root) == root / "defs" / "in.csv"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("2026-01-31", "2026-01-31"),
        ("inbox/a b.csv", "inbox%2Fa%20b.csv"),
        ("..", "%2E."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".hidden", "%2Ehidden"),
        ("a\\b", "a%5Cb"),
        ("{run_id}", "%7Brun_id%7D"),
        ("100%", "100%25"),
        ("ā", "%C4%81"),
    ],
)
def test_a_partition_key_is_made_safe_for_a_name(root: Path, key: str, name: str) -> None:
    assert _resolved(root, "{partition}/x.csv", partition=key) == f"defs/{name}/x.csv"


def test_the_run_id_is_filled_in(root: Path) -> None:
    assert _resolved(root, "out/{partition}-{run_id}.csv", partition="a", run_id="r1") == "defs/out/a-r1.csv"


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_no_key_climbs_and_two_keys_never_share_a_name(
    tmp_path_factory: pytest.TempPathFactory, one: str, other: str
) -> None:
    base = tmp_path_factory.getbasetemp()
    try:
        first = resolve("out/{partition}", base=base, root=base, partition=one)
        second = resolve("out/{partition}", base=base, root=base, partition=other)
    except ValueError as error:
        assert "too long" in str(error)  # noqa: PT017 - the only refusal there may be
        return

    assert first.parent == second.parent == (base / "out").resolve()
    assert (first == second) == (one == other)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "NUL"),
        ("~/x.csv", "not expanded"),
        ("out/{partition}.csv", "has none"),
        ("out/{run_id}.csv", "has none"),
        ("out/{partitoin}.csv", "Did you mean 'partition'"),
        ("out/{}.csv", "unknown placeholder"),
        ("out/{{partition}}.csv", "brace"),
        ("out/{partition.csv", "brace"),
        ("out/{partition!r}.csv", "unknown placeholder"),
    ],
)
def test_other_paths_are_refused_with_the_reason(root: Path, path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(path, base=root, root=root)


def test_a_key_too_long_for_a_name_and_a_loop_of_links_are_refused(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")

    with pytest.raises(ValueError, match="too long"):
        resolve("{partition}", base=root, root=root, partition="x" * 300)
    with pytest.raises(ValueError, match="cannot be followed"):
        resolve("loop/x", base=root, root=root)


def test_placeholders_are_known_before_a_run() -> None:
    assert placeholders("out/{partition}/{run_id}.csv") == {"partition", "run_id"}
    assert placeholders("out.csv") == frozenset()
