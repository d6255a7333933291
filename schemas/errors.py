"""What can be wrong with a record.

CodecError
├── RecordTooLarge        record_too_large     permanent
├── Unreadable            unreadable_record    permanent
├── UnknownSchema         unknown_schema       permanent
├── WrongRecordType       wrong_record_type    permanent
└── RegistryUnavailable   dependency_unavailable   retryable
"""

from __future__ import annotations

from typing import ClassVar


class CodecError(Exception):
    """A record cannot be read."""

    code: ClassVar[str]
    failure_class: ClassVar[str] = "permanent"


class RecordTooLarge(CodecError):
    """The record is longer than its topic allows: shorten the prompt."""

    code = "record_too_large"


class Unreadable(CodecError):
    """The bytes are not one whole Avro value in a known framing."""

    code = "unreadable_record"


class UnknownSchema(CodecError):
    """The writer's schema is not one this service ships: produce with schemas/avro."""

    code = "unknown_schema"


class WrongRecordType(CodecError):
    """The writer's schema is that of another topic's record."""

    code = "wrong_record_type"


class RegistryUnavailable(CodecError):
    """The schema registry does not answer: try again."""

    code = "dependency_unavailable"
    failure_class = "retryable"
