"""A secret is found in every form in which others send it back, and nothing else is touched."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.redaction import MARK, SECRET_CHARS_MIN, Redactor

SECRET = 'sk-p/9"x\\+7=QrT~&4'
REDACTOR = Redactor([SECRET])

visible = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=SECRET_CHARS_MIN, max_size=60
)


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"Bearer {SECRET}",
        json.dumps({"key": SECRET}),
        json.dumps({"key": SECRET}).replace("/", "\\/"),
        "".join(f"\\u{ord(char):04X}" for char in SECRET),
        quote(SECRET),
        quote_plus(SECRET),
        "".join(f"%{ord(char):02x}" for char in SECRET),
        *(base64_of("x" * offset + SECRET + "y" * tail) for offset in range(4) for tail in range(4)),
        base64.urlsafe_b64encode(f"Bearer {SECRET}".encode()).decode(),
    ],
)
def test_every_form_is_found(said: str) -> None:
    clean = REDACTOR.text(f"before {said} after")

    assert MARK in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert SECRET not in clean
    assert said not in clean


@given(visible, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_anything_around_a_secret_gives_nothing_away(
    secret: str, before: bytes, after: bytes
) -> None:
    encoded = base64.b64encode(before + secret.encode() + after)

    assert MARK.encode() in Redactor([secret]).bytes(encoded)


@given(visible)
def test_json_stays_json(secret: str) -> None:
    body = json.dumps({"said": f"<{secret}>", "n": 1})

    assert json.loads(Redactor([secret]).text(body)) == {"said": f"<{MARK}>", "n": 1}


def test_what_holds_no_secret_is_the_very_same() -> None:
    body = b'{"a": "100% \\u00e9 \\/ "}'
    assert REDACTOR.bytes(body) is body
    text = "half a pair: \ud800"
    assert REDACTOR.text(text) is text
    assert not REDACTOR.finds(text)


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redactor(["secret-key", "secret-key-2"]).text("secret-key-2") == MARK


def test_a_placeholder_is_no_secret() -> None:
    assert Redactor(["none", ""]).text("none of it") == "none of it"


def test_a_redactor_shows_nothing() -> None:
    assert SECRET not in repr(REDACTOR)
