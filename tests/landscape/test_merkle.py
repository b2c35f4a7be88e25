"""Roots and proofs are those of RFC 9162, for trees of every shape."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.landscape.merkle import EMPTY_ROOT, InclusionProof, MerkleTree, check, proof

ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
PUBLISHED_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
"""Of these entries; the vectors that implementations of Certificate Transparency test with."""


def _root(entries: list[bytes]) -> bytes:
    """The definition in section 2.1.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + _root(entries[:split]) + _root(entries[split:])).digest()


def _path(entries: list[bytes], index: int) -> list[bytes]:
    """The definition in section 2.1.3.1, word for word."""
    if len(entries) == 1:
        return []
    split = 1 << (len(entries) - 1).bit_length() - 1
    if index < split:
        return [*_path(entries[:split], index), _root(entries[split:])]
    return [*_path(entries[split:], index - split), _root(entries[:split])]


def _tree(entries: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    tree.extend(entries)
    return tree


@pytest.mark.parametrize("size", PUBLISHED_ROOTS)
def test_roots_are_the_published_ones(size: int) -> None:
    assert _tree(ENTRIES[:size]).root().hex() == PUBLISHED_ROOTS[size]


def test_a_tree_of_nothing_has_the_hash_of_nothing() -> None:
    assert MerkleTree().root() == EMPTY_ROOT == sha256(b"").digest()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_a_streamed_root_is_the_defined_one(entries: list[bytes]) -> None:
    assert _tree(entries).root() == _root(entries)


@given(st.lists(st.binary(max_size=40), max_size=40), st.lists(st.binary(max_size=40), max_size=40))
def test_a_tree_can_be_extended_in_parts(first: list[bytes], second: list[bytes]) -> None:
    tree = _tree(first)
    tree.extend(second)
    assert tree.root() == _root(first + second)
    assert tree.size == len(first) + len(second)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_entry_of_a_tree_of_any_size_can_be_proved(size: int) -> None:
    entries = [bytes([number]) for number in range(size)]
    root = _tree(entries).root()
    for index, entry in enumerate(entries):
        found = proof(iter(entries), index)
        assert found == InclusionProof(index, size, tuple(_path(entries, index)))
        assert check(entry, found, root=root)


def test_a_proof_proves_nothing_else() -> None:
    entries = [bytes([number]) for number in range(11)]
    root = _tree(entries).root()
    for index in range(len(entries)):
        found = proof(entries, index)
        assert not check(b"another", found, root=root)
        assert not check(entries[index], found, root=sha256(root).digest())
        assert not check(entries[index], InclusionProof(index, 11, found.path[:-1]), root=root)
        assert not check(entries[index], InclusionProof(index, 11, (*found.path, root)), root=root)
        other = InclusionProof((index + 1) % 11, 11, found.path)
        assert not check(entries[index], other, root=root)
    assert not check(entries[0], InclusionProof(11, 11, ()), root=root)


@pytest.mark.parametrize("index", [-1, 3])
def test_what_is_not_there_has_no_proof(index: int) -> None:
    with pytest.raises(IndexError, match="has 3 entries"):
        proof([b"a", b"b", b"c"], index)
