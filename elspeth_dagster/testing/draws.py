"""Draws that depend on what is asked, never on when or in which order: every random choice of the fake model.

A draw is a hash of a key and a label, so the same request meets the same fate in every process and on every machine.
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 8
"""Enough that two of a million requests do not share a key (chance about one in forty million)."""

_SPAN = 2**64


def key_of(*parts: bytes) -> bytes:
    """A short key for ``parts``; the parts' borders count."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def draw(key: bytes, label: str) -> int:
    """A whole number in ``[0, 2**64)`` for this key and label."""
    return int.from_bytes(
        hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest(), "big"
    )


def uniform(key: bytes, label: str) -> float:
    """A number in ``[0, 1)`` for this key and label."""
    return (draw(key, label) >> 11) / (_SPAN >> 11)
