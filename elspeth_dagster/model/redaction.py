"""Take secrets out of what others say, in every form in which they come back.

A server may repeat in its answer what it was sent; a user's own code may put a key into its exception. What is kept
then holds ``[redacted]`` in the secret's place, and hashes are of what is kept.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

MARK: Final = "[redacted]"
"""What stands for a secret; the same bytes in plain text, JSON and most URLs."""

SECRET_CHARS_MIN: Final = 8
"""A shorter key is a placeholder for one's own server; taking ``none`` or ``test`` out of answers would spoil them."""

_ESCAPES: Final = (b"\\u00", b"%", b"\\/")
_BACKSLASH: Final = (b"\\", b"%")


class Redactor:
    """Knows some secrets and finds them. ``repr`` shows none. Immutable, so any thread may use it."""

    __slots__ = ("_escapes", "_forms", "_mixed")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long_enough = sorted({one for one in secrets if len(one) >= SECRET_CHARS_MIN}, key=len, reverse=True)
        forms = {form for secret in long_enough for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        # A key of letters, digits and dashes, as all providers' are, comes back escaped only where somebody meant it.
        is_plain = not any(char in secret for secret in long_enough for char in '"\\')
        self._escapes = _ESCAPES if is_plain else _BACKSLASH
        self._mixed = tuple(re.compile(_any_escape(secret)) for secret in long_enough)

    def bytes(self, body: bytes) -> bytes:
        """``body`` without the secrets; the very same object where it holds none."""
        for form in self._forms:
            if form in body:
                body = body.replace(form, MARK.encode())
        if self._mixed and any(escape in body for escape in self._escapes):
            for pattern in self._mixed:
                body = pattern.sub(MARK.encode(), body)
        return body

    def text(self, text: str) -> str:
        """``text`` without the secrets; the very same object where it holds none."""
        raw = text.encode("utf-8", "surrogatepass")
        clean = self.bytes(raw)
        return text if clean is raw else clean.decode("utf-8", "surrogatepass")

    def finds(self, text: str) -> bool:
        """Whether ``text`` holds a secret."""
        return self.text(text) is not text


def _forms(secret: str) -> Iterable[bytes]:
    """Plain, JSON- and URL-escaped, and base64 at each of the three offsets, inside whatever else was encoded."""
    raw = secret.encode()
    for text in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)):
        yield text.encode()
    for offset in range(3):
        # The characters that the neighbours do not touch.
        padded = b"\0" * offset + raw
        whole_chars = len(padded) * 8 // 6
        first_char = -(-offset * 8 // 6)
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(padded)[first_char:whole_chars]


def _any_escape(secret: str) -> bytes:
    """The secret with any of its characters escaped as JSON or a URL may do it, once or inside of one another."""
    parts = []
    for char in secret:
        code = f"{ord(char):02x}"
        either_case = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
        itself = r"\\{1,8}" if char == "\\" else rf"\\{{0,7}}{re.escape(char)}"
        parts.append(rf"(?:{itself}|\\{{1,7}}u00{either_case}|%(?:25){{0,3}}{either_case})")
    return "".join(parts).encode()
