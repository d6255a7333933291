"""JSON as RFC 8259 has it and nothing looser: what two parsers could read in two ways is refused.

Refused are duplicate keys, NaN and Infinity, numbers beyond what a field could hold, bytes that are
not UTF-8, lone surrogates, and nesting deeper than the interpreter's stack.
"""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import Any, Final

#: As many as an integer that a field could hold has.
MAX_DIGITS: Final = 20
#: As many as the largest double has: for bodies of which a part may be nonsense by itself.
LENIENT_DIGITS: Final = 309
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedJson(ValueError):
    """The bytes are not one JSON object; the message names the defect, never the content."""


def parse_object(body: bytes, digits: int = MAX_DIGITS) -> dict[str, Any]:
    """The JSON object in ``body``.

    Args:
        body: As it was sent.
        digits: As many as an integer may have.

    Raises:
        MalformedJson: it is anything else.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=partial(_integer, digits),
            parse_float=_finite,
        )
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except MalformedJson:
        raise
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at character {error.pos}") from None
    except UnicodeEncodeError:
        raise MalformedJson("a lone surrogate, which is not a character") from None
    except RecursionError:
        raise MalformedJson("nested too deeply") from None
    if not isinstance(value, dict):
        raise MalformedJson("one JSON object is expected")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("a key occurs twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise MalformedJson(f"{name} is not JSON")


def _integer(most: int, digits: str) -> int:
    if len(digits) > most:
        raise MalformedJson(f"a number of more than {most} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedJson("a number out of range")
    return number
