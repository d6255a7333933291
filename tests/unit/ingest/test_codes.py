"""Each error that the API raises is documented, and each documented one is made by some test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ingest.api.jobs import CONFLICTS
from ingest.api.openapi import COMMITTED, operations, read
from schemas.reasons import REASONS

_ROOT = Path(__file__).parents[3]
#: Where the API is called, in whole or in parts.
_TESTS = ("tests/unit/ingest", "tests/integration", "tests/e2e")
#: Of a method that a path does not have there is no operation.
_OF_NO_OPERATION = {"method_not_allowed"}


def documented() -> set[str]:
    """The codes in the descriptions of all operations' errors."""
    return {
        code
        for _, _, operation in operations(read(COMMITTED))
        for status, answer in operation["responses"].items()
        if status >= "400"
        for code in re.findall(r"`([a-z_]+)`:", answer["description"])
    }


def raised() -> set[str]:
    """The codes that ``Problem`` is made of anywhere in the ingest part."""
    found = {str(code) for code, _ in CONFLICTS.values()}
    for path in (_ROOT / "ingest").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                code = node.args[0]
                found |= {str(code.value)} if isinstance(code, ast.Constant) else set()
    return found


_SOURCES = [path for of in _TESTS for path in sorted((_ROOT / of).rglob("*.py"))]
_TESTED = "\n".join(path.read_text() for path in _SOURCES if path != Path(__file__))


def test_what_is_raised_is_documented_and_nothing_else_is() -> None:
    assert raised() == documented() | _OF_NO_OPERATION
    assert raised() <= set(REASONS)


@pytest.mark.parametrize("code", sorted(documented() | _OF_NO_OPERATION))
def test_each_error_is_made_by_some_test(code: str) -> None:
    assert f'"{code}"' in _TESTED
