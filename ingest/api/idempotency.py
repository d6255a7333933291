"""``Idempotency-Key``, as draft-ietf-httpapi-idempotency-key-header has it.

The same key with the same request gives the first answer again; with another request, a 422; while
the first is under way, a 409. Keys live for the dedupe window, seven days by default.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header

from ingest.api.problems import Problem
from ingest.store.jobs import MAX_KEY
from schemas.job import Violation

_TEXT: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
#: A String of RFC 9651, which the draft asks for.
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_ESCAPED: Final = re.compile(r'\\(["\\])')

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Your name for this request: sent again with it, it is done once. "
        "A String in quotes, or the bare text.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_KEY, "pattern": f"^{_TEXT.pattern}$"},
    ),
]


def plain_key(value: str | None) -> str | None:
    """The key in the field's value; in quotes or bare it is the same one.

    Raises:
        Problem: invalid_request.
    """
    if value is None:
        return None
    if len(value) > MAX_KEY or not _TEXT.fullmatch(value):
        message = f"Use 1 to {MAX_KEY} printable ASCII characters."
        raise Problem("invalid_request", errors=[Violation("Idempotency-Key", "invalid", message)])
    quoted = _QUOTED.fullmatch(value)
    return value if quoted is None else _ESCAPED.sub(r"\1", quoted[1])
