"""Canonical JSON (RFC 8785) and the hashes that stand on it.

A row travels as its canonical bytes, so what is handed on is byte for byte what was hashed. The standard library's
encoder gives the same bytes as RFC 8785 for nearly every row, several times faster than a full implementation; where
it might not (whole or exponent floats, keys outside ASCII, very large integers) the `rfc8785` package writes them.
"""

from __future__ import annotations

import hashlib
import json
import json.encoder
from collections.abc import Callable, Sequence
from typing import Any

import rfc8785

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX


def _encoder(
    *, is_ascii: bool, sort_keys: bool, default: Callable[[Any], str] | None = None
) -> Callable[[Any], str]:
    """The standard library's compact encoder, made once: ``JSONEncoder.encode`` makes another for each value."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the library's C parts
        encoder = json.JSONEncoder(
            sort_keys=sort_keys,
            separators=(",", ":"),
            ensure_ascii=is_ascii,
            allow_nan=False,
            default=default,
        )
        return encoder.encode
    quote = json.encoder.encode_basestring_ascii if is_ascii else json.encoder.encode_basestring
    skips_keys = allows_nan = False
    chunks = make(
        None, default or json.JSONEncoder().default, quote, None, ":", ",", sort_keys, skips_keys, allows_nan
    )
    return lambda value: "".join(chunks(value, 0))


_encode = _encoder(is_ascii=False, sort_keys=True)
_encode_record = _encoder(is_ascii=True, sort_keys=False, default=bytes.hex)
_SAFE_DIGITS_MAX = len(str(SAFE_INTEGER_MAX)) - 1


def _whole(digits: str) -> int | float:
    """A whole number as it was: beyond 2^53-1 only a float is accepted, and 1e20 is written without its exponent."""
    if len(digits) <= _SAFE_DIGITS_MAX:
        return int(digits)
    number = float(digits)
    return number if abs(number) > SAFE_INTEGER_MAX else int(digits)


_decode = json.JSONDecoder(parse_int=_whole).raw_decode

# Between these, Python and ECMAScript write a fraction alike: shortest digits, no exponent.
_PLAIN_FLOAT_MIN, _PLAIN_FLOAT_MAX = 1e-4, 1e15


def canonical_bytes(value: JSON) -> bytes:
    """The RFC 8785 form of ``value``, in UTF-8.

    Raises:
        NotJSONError: ``value`` is not JSON (NaN, an integer beyond 2^53-1, a lone surrogate, another type).
    """
    try:
        if _same_either_way(value):
            return _encode(value).encode()
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:  # what rfc8785 and the UTF-8 encoder refuse with
        raise NotJSONError(f"The value has no canonical JSON form: {error}", field="") from error


def parsed(body: bytes) -> JSON:
    """A value whose canonical bytes these are: 1.0 comes back as 1 and -0.0 as 0, as RFC 8785 writes them."""
    text = body.decode()
    value: JSON
    value, end = _decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def content_hash(salt: bytes, body: bytes) -> bytes:
    """sha256 of salt and canonical body, 32 bytes. Without the salt nobody can guess a small value back from it."""
    return hashlib.sha256(salt + body).digest()


def plain_hash(body: bytes) -> bytes:
    """sha256 of what is no secret: a declaration, a configuration, a file's bytes."""
    return hashlib.sha256(body).digest()


def record_hash(table: str, values: Sequence[bool | int | float | str | bytes | None]) -> bytes:
    """Hash one evidence record: sha256 of the JSON array of the table's name and its columns in schema order.

    Bytes are written as lower-case hexadecimal, numbers in their shortest form that reads back the same, so that
    anybody can recompute it from the columns alone.
    """
    return hashlib.sha256(_encode_record((table, *values)).encode()).digest()


def _same_either_way(value: Any) -> bool:
    """Whether the standard encoder and RFC 8785 agree on every part of ``value``."""
    kind = value.__class__
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX)
    if kind is float:
        return bool(_PLAIN_FLOAT_MIN < abs(value) < _PLAIN_FLOAT_MAX and not value.is_integer())
    if kind is dict:
        for key, item in value.items():
            if key.__class__ is not str or not key.isascii():
                return False
            if item.__class__ is not str and not _same_either_way(item):
                return False
        return True
    if kind is list:
        return all(map(_same_either_way, value))
    return False
