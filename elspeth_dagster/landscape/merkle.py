"""Merkle trees as RFC 9162 defines them (section 2.1): a root for any number of entries, and proofs of inclusion.

A leaf is sha256(0x00 || entry), a node sha256(0x01 || left || right), and a tree of n entries splits at the largest
power of two below n. Entries are streamed: a tree, or a proof, keeps one hash for each bit of the number of entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

EMPTY_ROOT: Final = sha256(b"").digest()
_LEAF, _NODE = b"\x00", b"\x01"


@dataclass(slots=True)
class MerkleTree:
    """A tree that grows at its right end; ``_peaks`` are the roots of its perfect subtrees, widest first."""

    size: int = 0
    _peaks: list[bytes] = field(default_factory=list)

    def extend(self, entries: Iterable[bytes]) -> None:
        """Append entries, in order."""
        peaks, size = self._peaks, self.size
        for entry in entries:
            node = sha256(_LEAF + entry).digest()
            size += 1
            left = size
            while not left & 1:  # as many subtrees are complete now as the size has trailing zeros
                node = sha256(_NODE + peaks.pop() + node).digest()
                left >>= 1
            peaks.append(node)
        self.size = size

    def root(self) -> bytes:
        """The root over what was appended so far."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = _parent(left, node)
        return node


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Shows that one entry is in a tree: its place, the tree's size, and the hashes beside its way to the root."""

    index: int
    size: int
    path: tuple[bytes, ...]


def proof(entries: Iterable[bytes], index: int) -> InclusionProof:
    """The proof of inclusion of the entry at ``index``, counted from 0.

    Raises:
        IndexError: there is no such entry.
    """
    peaks: list[_Peak] = []
    path: list[bytes] = []
    size = 0
    for entry in entries:
        node = _Peak(sha256(_LEAF + entry).digest(), is_on_way=size == index)
        size += 1
        left = size
        while not left & 1:
            node = _joined(peaks.pop(), node, path)
            left >>= 1
        peaks.append(node)
    if not 0 <= index < size:
        raise IndexError(f"The tree has {size} entries; there is none at {index}.")
    node = peaks.pop()
    while peaks:
        node = _joined(peaks.pop(), node, path)
    return InclusionProof(index, size, tuple(path))


def check(entry: bytes, of: InclusionProof, *, root: bytes) -> bool:
    """Whether ``of`` proves that ``entry`` is in the tree with this root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= of.index < of.size:
        return False
    place, last = of.index, of.size - 1
    node = sha256(_LEAF + entry).digest()
    for beside in of.path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = _parent(beside, node)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            node = _parent(node, beside)
        place >>= 1
        last >>= 1
    return last == 0 and node == root


@dataclass(frozen=True, slots=True)
class _Peak:
    """A perfect subtree's root, and whether the proved entry is below it."""

    root: bytes
    is_on_way: bool


def _joined(left: _Peak, right: _Peak, path: list[bytes]) -> _Peak:
    if left.is_on_way:
        path.append(right.root)
    elif right.is_on_way:
        path.append(left.root)
    return _Peak(_parent(left.root, right.root), left.is_on_way or right.is_on_way)


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
