"""The lines of a text file as a CSV parser takes them: bounded in length, and able to be taken back."""

from __future__ import annotations

from collections import deque
from typing import TextIO

SKIP_CHARS = 64 * 1024
"""How much of an over-long line is held at a time while its rest is passed over."""


_LINE_CHARS = 8
"""What a line costs of the bound beside its text: a record of a million empty lines takes memory too."""


class RecordTooLongError(Exception):
    """The record that is being read is longer than its bound."""


class Lines:
    """An iterator of lines. ``taken`` are those given since it was last cleared: the lines of the current record.

    A record can turn out to be broken long after it began (a quote that is never closed). ``take_back`` then gives all
    its lines but the first once more, so that one bad line costs one record.
    """

    __slots__ = ("_again", "_chars", "_chars_max", "_file", "_readline", "number", "taken")

    def __init__(self, file: TextIO, *, chars_max: int) -> None:
        self._file = file
        self._readline = file.readline
        self._chars_max = chars_max
        self._chars = 0
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        """The next line, its end included.

        Raises:
            RecordTooLongError: with it, the lines in ``taken`` are longer than the bound.
        """
        line = self._again.popleft() if self._again else self._readline(self._chars_max + 1)
        if not line:
            raise StopIteration
        taken = self.taken
        self._chars = self._chars + len(line) + _LINE_CHARS if taken else len(line)
        taken.append(line)
        self.number += 1
        if self._chars > self._chars_max:
            raise RecordTooLongError
        return line

    @property
    def first_number(self) -> int:
        """The number, from 1, of the line that the current record begins with."""
        return self.number - len(self.taken) + 1

    def take_back(self) -> int:
        """Give all taken lines but the first once more, and return how many characters those are.

        Where the first line alone is beyond the bound, its rest is passed over in the file.
        """
        first, *others = self.taken
        if len(first) > self._chars_max and not first.endswith(("\n", "\r")):
            self._skip_rest()
        self._again.extendleft(reversed(others))
        self.number -= len(others)
        return sum(map(len, others))

    def _skip_rest(self) -> None:
        while (part := self._readline(SKIP_CHARS)) and not part.endswith(("\n", "\r")):
            pass
