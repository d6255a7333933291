"""What the models of requests and of answers have in common. Pure.

Requests are :class:`StrictBody`, answers :class:`Body`; times come in as :data:`Time` and go out as
:data:`Moment`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from ingest.view import moment

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
)


class StrictBody(BaseModel):
    """What a client sends: no other types, no other fields, no values in errors."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class Body(BaseModel):
    """What an answer holds: a member that is not declared is a mistake here."""

    model_config = ConfigDict(extra="forbid")


def time_of(value: object) -> object:
    """The time that RFC 3339 text says, in UTC; None stays None. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("an RFC 3339 time with its offset is expected")
    parsed = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper()))
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time between the years 1 and 9999 is expected") from None


#: A time in a request.
Time = Annotated[datetime, BeforeValidator(time_of)]
#: A time in an answer: RFC 3339 in UTC, in milliseconds.
Moment = Annotated[
    datetime,
    PlainSerializer(moment, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
#: A UUID in an answer, made of text.
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
