"""A rate for each class of request, as a setting is written: ``submit=600 write=600 read=6000``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

RequestClass = Literal["submit", "write", "read"]
CLASSES: Final[tuple[RequestClass, ...]] = get_args(RequestClass)

_ENTRY: Final = re.compile(r"(submit|write|read)=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a minute, by class; 0 is no limit."""

    submit: int = 0
    write: int = 0
    read: int = 0

    def of(self, kind: RequestClass) -> int:
        """Requests a minute of one class."""
        rate: int = getattr(self, kind)
        return rate

    def __str__(self) -> str:
        return " ".join(f"{kind}={self.of(kind)}" for kind in CLASSES)


UNLIMITED: Final = Rates()


def parse(value: Any) -> Rates:
    """The rates in a setting; a class that is left out has no limit.

    Raises:
        ValueError: it is not of this form, or names a class twice.
    """
    if isinstance(value, Rates):
        return value
    found: dict[str, int] = {}
    for entry in str(value).replace(",", " ").split():
        match = _ENTRY.fullmatch(entry)
        if match is None or match[1] in found:
            raise ValueError("expected submit=N write=N read=N, requests a minute, 0: no limit")
        found[match[1]] = int(match[2])
    return Rates(**found)
