"""Whether a client of one OpenAPI document still works with another. Pure.

What a client relies on: each operation, parameter and answer is there; what it may send is still
taken; what it reads has the shape it knows. Taken away or narrowed on the way in, taken away or
widened on the way out: broken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

Way = Literal["in", "out"]
_METHODS: Final = ("get", "put", "post", "delete", "patch")
#: Bounds by name, and whether a larger one is wider.
_BOUNDS: Final = {
    "maximum": True,
    "exclusiveMaximum": True,
    "maxLength": True,
    "maxItems": True,
    "maxProperties": True,
    "minimum": False,
    "exclusiveMinimum": False,
    "minLength": False,
    "minItems": False,
    "minProperties": False,
}
_DEEPEST: Final = 30


def broken(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What a client of ``old`` loses with ``new``, one line each; empty: nothing."""
    return list(_Comparison(old, new).paths())


class _Comparison:
    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old
        self._new = new

    def paths(self) -> Iterator[str]:
        for path, item in self._old["paths"].items():
            for method in _METHODS:
                if method not in item:
                    continue
                where = f"{method.upper()} {path}"
                operation = self._new["paths"].get(path, {}).get(method)
                if operation is None:
                    yield f"{where}: removed"
                else:
                    yield from self._operation(where, item[method], operation)

    def _operation(self, where: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        yield from self._parameters(where, old, new)
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                if status < "400":
                    yield f"{where}: answer {status} removed"
                continue
            yield from self._answer(f"{where} {status}", answer, new["responses"][status])

    def _parameters(self, where: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        def named(of: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
            return {(p["in"], p["name"]): p for p in of.get("parameters", [])}

        before, after = named(old), named(new)
        for key, parameter in before.items():
            name = f"{where}: parameter {key[1]}"
            if key not in after:
                yield f"{name}: removed"
                continue
            if after[key].get("required") and not parameter.get("required"):
                yield f"{name}: required now"
            yield from self._schema(name, parameter["schema"], after[key]["schema"], "in")
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{where}: parameter {key[1]}: new and required"

    def _body(self, where: str, old: Any, new: Any) -> Iterator[str]:
        if new is not None and new.get("required") and (old is None or not old.get("required")):
            yield f"{where}: a body is required now"
        if old is None:
            return
        if new is None:
            yield f"{where}: takes no body any more"
            return
        yield from self._content(f"{where}: body", old, new, "in")

    def _answer(self, where: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        for name in old.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: header {name} removed"
        yield from self._content(where, old, new, "out")

    def _content(
        self, where: str, old: dict[str, Any], new: dict[str, Any], way: Way
    ) -> Iterator[str]:
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                yield f"{where}: {media} removed"
                continue
            other = new["content"][media]
            yield from self._schema(where, content["schema"], other["schema"], way)

    def _schema(self, where: str, old: Any, new: Any, way: Way, depth: int = 0) -> Iterator[str]:
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if depth > _DEEPEST or old == new:
            return
        before, after = _variants(old), _variants(new)
        if before is not None or after is not None:
            yield from self._anyof(where, before or [old], after or [new], way, depth)
            return
        # Whoever sends has the wider schema to fit into; whoever reads knows the narrower.
        narrow, wide = (old, new) if way == "in" else (new, old)
        yield from _kept(where, narrow, wide)
        yield from self._members(where, old, new, way, depth)
        if "items" in old and "items" in new:
            yield from self._schema(f"{where}[]", old["items"], new["items"], way, depth + 1)
        more = old.get("additionalProperties"), new.get("additionalProperties")
        if all(isinstance(schema, dict) for schema in more):
            yield from self._schema(f"{where}{{}}", *more, way, depth + 1)

    def _anyof(
        self, where: str, old: list[Any], new: list[Any], way: Way, depth: int
    ) -> Iterator[str]:
        """Each variant that may come must fit one that is known."""
        coming, known = (old, new) if way == "in" else (new, old)
        for variant in coming:
            pairs = [(variant, k) if way == "in" else (k, variant) for k in known]
            tried = [list(self._schema(where, *pair, way, depth + 1)) for pair in pairs]
            if not any(not wrong for wrong in tried):
                yield min(tried, key=len)[0] if tried else f"{where}: no variant is left"

    def _members(self, where: str, old: Any, new: Any, way: Way, depth: int) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self._schema(f"{where}.{name}", schema, after[name], way, depth + 1)
            elif way == "out" or new.get("additionalProperties") is False:
                yield f"{where}.{name}: removed"
        asked, given = set(old.get("required", [])), set(new.get("required", []))
        if way == "in":
            yield from (f"{where}.{name}: required now" for name in sorted(given - asked))
        else:
            yield from (
                f"{where}.{name}: may be missing now"
                for name in sorted(asked - given)
                if name in after
            )


def _kept(where: str, narrow: Any, wide: Any) -> Iterator[str]:
    """What ``wide`` does not take of what ``narrow`` allows."""
    types = _types(narrow), _types(wide)
    fits = bool(types[0]) and types[0] <= types[1] | (
        {"integer"} & types[0] if "number" in types[1] else set()
    )
    if types[1] and not fits:
        yield f"{where}: type {sorted(types[0])} for {sorted(types[1])}"
        return
    values = _values(narrow), _values(wide)
    if values[1] is not None and (values[0] is None or not values[0] <= values[1]):
        yield f"{where}: allowed values changed"
    for name, larger in _BOUNDS.items():
        if name in wide and (
            name not in narrow
            or ((narrow[name] > wide[name]) is larger and narrow[name] != wide[name])
        ):
            yield f"{where}: {name} changed"
    for name in ("pattern", "format", "multipleOf"):
        if name in wide and narrow.get(name) != wide[name]:
            yield f"{where}: {name} changed"


def _resolved(schema: Any, document: dict[str, Any]) -> Any:
    while isinstance(schema, dict) and "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    if not isinstance(schema, dict):
        return {}
    said = ("description", "title", "default", "examples", "deprecated")
    return {name: value for name, value in schema.items() if name not in said}


def _variants(schema: dict[str, Any]) -> list[Any] | None:
    found: list[Any] | None = schema.get("anyOf") or schema.get("oneOf")
    return found


def _types(schema: dict[str, Any]) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


def _values(schema: dict[str, Any]) -> set[str] | None:
    if "const" in schema:
        return {json.dumps(schema["const"])}
    return {json.dumps(value) for value in schema["enum"]} if "enum" in schema else None
