"""Types of request fields whose JSON Schema says what the rules of ``schemas/job.py`` check. Pure.

The rules give the answers, with codes of their own; the schema tells programs beforehand. What
a schema cannot say (bytes instead of characters, a time in the future) is in its description.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from schemas.job import (
    DEFAULT_POOL,
    MAX_FRAMES,
    MAX_GUIDANCE,
    MAX_HEIGHT,
    MAX_METADATA,
    MAX_METADATA_BYTES,
    MAX_PROMPT_BYTES,
    MAX_RETENTION_S,
    MAX_SEED,
    MAX_STEPS,
    MAX_URL,
    MAX_WIDTH,
    MIN_SIDE,
    MIN_STEPS,
    SIDE_STEP,
    valid_url,
)

_CONTROL: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
#: Text without control and bidi characters, but tabs and line ends.
PRINTABLE: Final = f"^[^{_CONTROL}]*$"
_SOME: Final = rf"^[^{_CONTROL}]*[^{_CONTROL}\s][^{_CONTROL}]*$"

_PORT: Final = (
    "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_H16: Final = "[0-9A-Fa-f]{1,4}"
#: RFC 4291: eight groups, or fewer around one pair of colons.
_IPV6: Final = "|".join(
    [f"(?:{_H16}:){{7}}{_H16}", f"(?:{_H16}:){{1,7}}:"]
    + [f"(?:{_H16}:){{1,{7 - n}}}(?::{_H16}){{1,{n}}}" for n in range(1, 7)]
    + [
        f":(?::{_H16}){{1,7}}",
        "::",
        r"::(?:[Ff]{4}:)?(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)[.]){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)",
    ]
)
#: http or https in the characters of RFC 3986, without a password and without a fragment.
URL: Final = (
    rf"^[Hh][Tt][Tt][Pp][Ss]?://(?:[A-Za-z0-9][A-Za-z0-9._~-]*|\[(?:{_IPV6})\])"
    rf"(?::{_PORT})?(?:[/?](?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{{2}})*)?$"
)
_URL: Final = re.compile(URL)


def web_url(url: str) -> bool:
    """Whether ``url`` may be a webhook's target, as :data:`URL` and the rules have it."""
    return _URL.fullmatch(url) is not None and valid_url(url)


def integral(value: object) -> object:
    """An integer that is written as 64.0 or 6.4e1: JSON Schema knows no difference."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Of an integer: takes it in every form that JSON Schema calls one.
WHOLE: Final = BeforeValidator(integral)


def _shown(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


Prompt = Annotated[
    str, _shown(type="string", minLength=1, maxLength=MAX_PROMPT_BYTES, pattern=_SOME)
]
NegativePrompt = Annotated[
    str, _shown(type="string", maxLength=MAX_PROMPT_BYTES, pattern=PRINTABLE)
]
Width = Annotated[
    int, WHOLE, _shown(type="integer", minimum=MIN_SIDE, maximum=MAX_WIDTH, multipleOf=SIDE_STEP)
]
Height = Annotated[
    int, WHOLE, _shown(type="integer", minimum=MIN_SIDE, maximum=MAX_HEIGHT, multipleOf=SIDE_STEP)
]
Frames = Annotated[int, WHOLE, _shown(type="integer", enum=list(range(1, MAX_FRAMES + 1, 6)))]
Steps = Annotated[int, WHOLE, _shown(type="integer", minimum=MIN_STEPS, maximum=MAX_STEPS)]
Guidance = Annotated[float, _shown(type="number", minimum=0, maximum=MAX_GUIDANCE)]
Seed = Annotated[int, WHOLE, _shown(type="integer", minimum=0, maximum=MAX_SEED)]
Pool = Annotated[str, _shown(type="string", enum=[DEFAULT_POOL])]
JobId = Annotated[
    str,
    _shown(
        type="string",
        format="uuid",
        pattern="^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
    ),
]
Retention = Annotated[int, WHOLE, _shown(type="integer", minimum=60, maximum=MAX_RETENTION_S)]
WebUrl = Annotated[str, _shown(type="string", format="uri", maxLength=MAX_URL, pattern=URL)]
_LABEL_TEXT: Final = {"type": "string", "maxLength": MAX_METADATA_BYTES, "pattern": PRINTABLE}
Labels = Annotated[
    dict[str, str],
    _shown(
        type="object",
        maxProperties=MAX_METADATA,
        propertyNames={"maxLength": MAX_METADATA_BYTES, "pattern": PRINTABLE},
        additionalProperties=_LABEL_TEXT,
    ),
]
