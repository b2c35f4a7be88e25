"""A plausible value for a JSON schema: the fake model's answer.

Every choice is a draw from the request's key and the value's place in the answer, so one more field leaves the others
as they were. An enum value that the last user message says aloud is preferred: a demo's answers look sensible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing.draws import draw
from elspeth_dagster.testing.quantities import integer_for, number_for
from elspeth_dagster.testing.schema import Schema, SchemaError, folded, options_of, resolved
from elspeth_dagster.testing.words import string_for

DEPTH_SOFT = 5
"""From here on recursive schemas are brought to an end: null, no items, no optional properties."""

DEPTH_MAX = 40
"""Deeper, a schema has no finite answer."""

VALUES_MAX = 10_000
"""Values in one answer; real ones have a few dozen."""

_NULL_ONE_IN = 8
"""A value that may be null is null this rarely."""

_ITEMS_EXTRA = 2
_TOLD_ID = re.compile(r"^row_id: (\S+)$", re.MULTILINE)
"""The row's id, as a step with `echo_id` tells it and wants it back."""
_UNIQUE_TRIES = 20


def answer_for(schema: JSON, *, key: bytes, said: str) -> JSON:
    """A value that satisfies ``schema``; ``said`` is the last user message.

    Raises:
        SchemaError: no value does, or a keyword is not supported.
    """
    if not isinstance(schema, dict):
        raise SchemaError("it is not an object")
    return _Maker(schema, key, said.lower()).make(schema, "$", 0)


class _Maker:
    """Makes one answer. The path is the place in the answer; it is what the draws hang on."""

    __slots__ = ("_key", "_made", "_root", "_said")

    def __init__(self, root: Schema, key: bytes, said: str) -> None:
        self._root = root
        self._key = key
        self._said = said
        self._made = 0

    def make(self, schema: JSON, path: str, depth: int) -> JSON:
        self._made += 1
        if depth > DEPTH_MAX or self._made > VALUES_MAX:
            raise SchemaError("it has no answer of reasonable size")
        here = resolved(schema, self._root)
        if "const" in here:
            return here["const"]
        if "enum" in here:
            return self._choice(here["enum"], path)
        options = options_of(here)
        if options is not None:
            option = self._option(options, path, depth)
            without = "anyOf" if "anyOf" in here else "oneOf"
            rest = {name: value for name, value in here.items() if name != without}
            return self.make(folded(rest, resolved(option, self._root), without=""), path, depth + 1)
        return self._of_type(self._type(here, path), here, path, depth)

    def _of_type(self, kind: str, here: Schema, path: str, depth: int) -> JSON:
        if kind == "object":
            return self._object(here, path, depth)
        if kind == "string":
            if path == "$.row_id" and (told := _TOLD_ID.search(self._said)):
                return told[1]
            return string_for(here, key=self._key, path=path)
        if kind == "number":
            return number_for(here, key=self._key, path=path)
        if kind == "integer":
            return integer_for(here, key=self._key, path=path)
        if kind == "boolean":
            return draw(self._key, path) % 2 == 0
        if kind == "array":
            return self._array(here, path, depth)
        if kind == "null":
            return None
        raise SchemaError(f"there is no type {kind!r}")

    def _choice(self, values: JSON, path: str) -> JSON:
        if not isinstance(values, list) or not values:
            raise SchemaError("an enum has no values")
        said = [value for value in values if isinstance(value, str) and self._is_said(value.lower())]
        pool = said or values
        return pool[draw(self._key, path) % len(pool)]

    def _is_said(self, value: str) -> bool:
        return value in self._said and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", self._said) is not None

    def _option(self, options: Sequence[JSON], path: str, depth: int) -> JSON:
        nulls = [one for one in options if isinstance(one, dict) and one.get("type") == "null"]
        others = [one for one in options if one not in nulls]
        pool = nulls if nulls and self._prefers_null(path, depth) else others or nulls
        if not pool:
            raise SchemaError("anyOf has no alternatives")
        return pool[draw(self._key, f"{path}|") % len(pool)]

    def _type(self, here: Schema, path: str) -> str:
        named = here.get("type")
        if isinstance(named, str):
            return named
        if isinstance(named, list) and named:
            others = [str(one) for one in named if one != "null"]
            if not others or (len(others) < len(named) and self._prefers_null(path, path.count("."))):
                return "null"
            return others[draw(self._key, f"{path}|") % len(others)]
        if "properties" in here or "required" in here:
            return "object"
        if "items" in here or "minItems" in here:
            return "array"
        return "number" if "minimum" in here or "maximum" in here else "string"

    def _prefers_null(self, path: str, depth: int) -> bool:
        return depth >= DEPTH_SOFT or draw(self._key, f"{path}?") % _NULL_ONE_IN == 0

    def _object(self, here: Schema, path: str, depth: int) -> JSON:
        properties = here.get("properties", {})
        required = here.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise SchemaError("'properties' is an object and 'required' a list")
        made: dict[str, JSON] = {
            name: self.make(schema, f"{path}.{name}", depth + 1)
            for name, schema in properties.items()
            if depth < DEPTH_SOFT or name in required
        }
        for name in required:
            if isinstance(name, str) and name not in made:
                made[name] = self.make(here.get("additionalProperties", True), f"{path}.{name}", depth + 1)
        return made

    def _array(self, here: Schema, path: str, depth: int) -> JSON:
        low, high = here.get("minItems", 0), here.get("maxItems")
        if not isinstance(low, int) or not isinstance(high, int | None) or (high is not None and high < low):
            raise SchemaError("no array has that many items")
        most = low + _ITEMS_EXTRA if high is None else min(high, low + _ITEMS_EXTRA)
        least = min(max(low, 1), most)
        count = low if depth >= DEPTH_SOFT else least + draw(self._key, path) % (most - least + 1)
        if here.get("uniqueItems"):
            return self._unique_items(here, path, depth, range(low, count + 1))
        return [self.make(_item(here, i), f"{path}[{i}]", depth + 1) for i in range(count)]

    def _unique_items(self, here: Schema, path: str, depth: int, count: range) -> JSON:
        """As many different items as ``count`` ends with, or what can be found down to where it starts."""
        items: dict[str, JSON] = {}
        for i in range(count[-1] * _UNIQUE_TRIES):
            if len(items) == count[-1]:
                break
            item = self.make(_item(here, len(items)), f"{path}[{i}]", depth + 1)
            items.setdefault(json.dumps(item, sort_keys=True), item)
        if len(items) < count[0]:
            raise SchemaError("there are not that many different items")
        return list(items.values())


def _item(here: Schema, index: int) -> JSON:
    fixed = here.get("prefixItems")
    if isinstance(fixed, list) and index < len(fixed):
        return fixed[index]
    return here.get("items", True)
