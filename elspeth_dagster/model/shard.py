"""A shard: every n-th record of a source, by the record's own number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_KEY: Final = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Every ``count``-th record, from number ``index`` on."""

    index: int
    count: int

    @property
    def key(self) -> str:
        """``03-of-16``: in order as text, too."""
        return f"{self.index:0{len(str(self.count - 1))}d}-of-{self.count}"

    def takes(self, record: int) -> bool:
        """Whether the record of this number is this shard's."""
        return record % self.count == self.index


WHOLE: Final = Shard(0, 1)
"""All records."""


def shard_of_key(key: str | None) -> Shard | None:
    """The shard that a partition key names; None where it names none."""
    found = _KEY.fullmatch(key or "")
    return None if found is None else Shard(int(found[1]), int(found[2]))
