"""A bug: a patch that removes a protection, what provokes it, and what a storm must then find."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from tests.chaos.checker import Verdict

FOLDER: Final = Path(__file__).parent
#: What a storm can find: the lists of its verdict, and a step that the model does not allow.
KINDS: Final = frozenset(
    {each.name for each in fields(Verdict) if str(each.type).startswith("list")} | {"replay"}
)
_REFUSED: Final = "the model does not allow"
_HEADER: Final = ("Removes", "Provoke", "Expect")


@dataclass(frozen=True, slots=True)
class Bug:
    """One patch.

    Attributes:
        name: Of its file.
        removes: The protection it takes away.
        provoke: Arguments of the storm that gives it its opportunity.
        expect: What the storm must find, one of them at least.
        patch: The file.
    """

    name: str
    removes: str
    provoke: tuple[str, ...]
    expect: frozenset[str]
    patch: Path


def read(path: Path) -> Bug:
    """The bug in a patch, from the lines before its diff.

    Raises:
        ValueError: they are not as they should be.
    """
    lines = path.read_text().splitlines()[: len(_HEADER)]
    found = dict(line.removeprefix("# ").split(": ", 1) for line in lines if ": " in line)
    if tuple(found) != _HEADER:
        raise ValueError(f"{path.name} begins with the lines {', '.join(_HEADER)}")
    expect = frozenset(found["Expect"].split())
    if not expect or not expect <= KINDS:
        raise ValueError(f"{path.name} expects none of {sorted(KINDS)}")
    provoke = tuple(shlex.split(found["Provoke"]))
    return Bug(path.stem, found["Removes"].rstrip("."), provoke, expect, path)


def every() -> list[Bug]:
    """All bugs there are, in order."""
    return [read(path) for path in sorted(FOLDER.glob("*.patch"))]


def found(report: Mapping[str, Any]) -> dict[str, int]:
    """How much of each kind a storm's report found; kinds with nothing are left out.

    That a storm was too short or broke off is no finding.
    """
    counts = {kind: len(report.get(kind, ())) for kind in KINDS}
    counts["replay"] = sum(_REFUSED in problem for problem in report.get("problems", ()))
    return {kind: count for kind, count in sorted(counts.items()) if count}
