"""The second line of an error about a name: which name was meant."""

from __future__ import annotations

from collections.abc import Iterable

from elspeth_dagster.model.suggest import suggest


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Say which of ``known`` the word resembles, or list them all."""
    names = sorted(known)
    return suggest(word, names).strip() or f"Choose one of {', '.join(names)}."
