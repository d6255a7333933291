"""Records to bytes and back: Confluent wire format through the registry, or single-object.

A value is ``00 | schema id, 4 bytes big-endian | Avro`` or ``C3 01 | fingerprint, 8 bytes
little-endian | Avro``. Only writers whose schema this service ships are read: the registry is asked
what an id means, never trusted with how to decode.
"""

from __future__ import annotations

import functools
import io
import json
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro import schemaless_reader, schemaless_writer
from fastavro.schema import SchemaParseException, parse_schema
from pydantic import ValidationError

from schemas.catalog import accepted, fingerprint_of, shipped
from schemas.errors import (
    RecordTooLarge,
    RegistryUnavailable,
    UnknownSchema,
    Unreadable,
    WrongRecordType,
)
from schemas.records import Record

R = TypeVar("R", bound=Record)

_CONFLUENT: Final = 0
_SINGLE_OBJECT: Final = b"\xc3\x01"
MAX_BYTES: Final = 2 * 1024 * 1024
_MAX_SCHEMA_TEXT: Final = 256 * 1024
_FORGET_UNKNOWN_AFTER: Final = 30.0


class Registry(Protocol):
    """What the codec needs of a schema registry."""

    def id_of(self, subject: str, text: str) -> int:
        """The id under which ``subject`` knows the schema ``text``."""

    def text_of(self, schema_id: int) -> str | None:
        """The schema behind an id, or None when there is none."""


class ConfluentRegistry:
    """A registry that speaks the Confluent API; calls block for at most a few seconds."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._client = SchemaRegistryClient(
            {"url": url, "timeout": timeout, "max.retries": 2, "retries.wait.ms": 200}
        )

    def id_of(self, subject: str, text: str) -> int:
        """See :class:`Registry`. Raises RegistryUnavailable, also when it is not registered."""
        try:
            found = self._client.lookup_schema(subject, Schema(text, "AVRO"))
        except Exception as error:  # the client passes its HTTP library's errors through
            raise RegistryUnavailable(f"no id for {subject}: {type(error).__name__}") from error
        if found.schema_id is None:
            raise RegistryUnavailable(f"no id for {subject}")
        return int(found.schema_id)

    def text_of(self, schema_id: int) -> str | None:
        """See :class:`Registry`. Raises RegistryUnavailable."""
        try:
            return self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise RegistryUnavailable(f"schema id {schema_id}: {error.http_status_code}") from error
        except Exception as error:  # as above
            raise RegistryUnavailable(f"schema id {schema_id}: {type(error).__name__}") from error


class Codec:
    """Encodes and decodes the records of all topics. Thread-safe; caches ids for its lifetime."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, str], int] = {}
        self._writers: dict[int, bytes] = {}
        self._unknown: dict[int, float] = {}

    def encode(self, topic: str, record: Record) -> bytes:
        """``record`` as a value for ``topic``, in the Confluent wire format.

        Raises:
            RegistryUnavailable: the first use of a topic needs the registry.
        """
        name = type(record).__name__
        buffer = io.BytesIO()
        buffer.write(struct.pack(">bI", _CONFLUENT, self._id(topic, name)))
        schemaless_writer(buffer, shipped(name).parsed, record.model_dump())
        return buffer.getvalue()

    def warm(self, topics: Mapping[str, str]) -> None:
        """Look up what :meth:`encode` needs for these topics (to record names) now.

        Raises:
            RegistryUnavailable: the registry does not answer.
        """
        for topic, name in topics.items():
            self._id(topic, name)

    def _id(self, topic: str, name: str) -> int:
        schema_id = self._ids.get((topic, name))
        if schema_id is None:
            schema_id = self._registry.id_of(f"{topic}-value", shipped(name).text)
            self._ids[topic, name] = schema_id
            self._writers[schema_id] = shipped(name).fingerprint
        return schema_id

    def needs_registry(self, data: bytes | None) -> bool:
        """Whether :meth:`decode` of ``data`` would have to call the registry (and so block)."""
        if data is None or len(data) < 5 or data[0] != _CONFLUENT:
            return False
        return int.from_bytes(data[1:5]) not in self._writers

    def decode(self, model: type[R], data: bytes | None) -> R:
        """The record of type ``model`` in ``data``, which it must fill to the last byte.

        Raises:
            CodecError: one of its leaves; see schemas/errors.py.
        """
        if data is None:
            raise Unreadable("the value is null")
        if len(data) > MAX_BYTES:
            raise RecordTooLarge(f"{len(data)} bytes; at most {MAX_BYTES}")
        if data[:2] == _SINGLE_OBJECT:
            return _read(model, data[2:10], data, 10)
        if len(data) < 5 or data[0] != _CONFLUENT:
            raise Unreadable("neither Confluent wire format nor single-object encoding")
        return _read(model, self._writer(int.from_bytes(data[1:5])), data, 5)

    def _writer(self, schema_id: int) -> bytes:
        known = self._writers.get(schema_id)
        if known is not None:
            return known
        with self._lock:
            if time.monotonic() - self._unknown.get(schema_id, -1e9) < _FORGET_UNKNOWN_AFTER:
                raise UnknownSchema(f"schema id {schema_id} is not one this service ships")
            mark = _shipped_fingerprint(self._registry.text_of(schema_id))
            if mark is None:
                if len(self._unknown) >= 10_000:
                    self._unknown.clear()
                self._unknown[schema_id] = time.monotonic()
                raise UnknownSchema(f"schema id {schema_id} is not one this service ships")
            self._writers[schema_id] = mark
            return mark


def _shipped_fingerprint(text: str | None) -> bytes | None:
    if text is None or len(text) > _MAX_SCHEMA_TEXT:
        return None
    try:
        mark = fingerprint_of(parse_schema(json.loads(text)))
    except (SchemaParseException, ValueError, TypeError, KeyError, RecursionError):
        return None
    return mark if mark in accepted() else None


def _read(model: type[R], mark: bytes, data: bytes, start: int) -> R:
    found = accepted().get(mark)
    if found is None:
        raise UnknownSchema(f"fingerprint {mark.hex()} is not one this service ships")
    name, writer = found
    if name != model.__name__:
        raise WrongRecordType(f"a {name}; this topic holds {model.__name__}")
    buffer = io.BytesIO(data)
    buffer.seek(start)
    try:
        value: Any = schemaless_reader(buffer, writer, shipped(name).parsed)
        record = model.model_validate(value)
    except ValidationError as error:
        raise Unreadable(f"{name}: {error.error_count()} fields out of range") from None
    except Exception as error:  # noqa: BLE001 fastavro raises whatever its decoder trips over
        raise Unreadable(f"not a whole {name}: {type(error).__name__}") from None
    if buffer.tell() != len(data):
        raise Unreadable(f"{len(data) - buffer.tell()} bytes follow the value")
    return record


@functools.cache
def codec(registry_url: str) -> Codec:
    """The process's codec for one registry."""
    return Codec(ConfluentRegistry(registry_url))


def single_object(record: Record) -> bytes:
    """``record`` in single-object encoding: what a producer without a registry sends."""
    schema = shipped(type(record).__name__)
    buffer = io.BytesIO()
    buffer.write(_SINGLE_OBJECT + schema.fingerprint)
    schemaless_writer(buffer, schema.parsed, record.model_dump())
    return buffer.getvalue()
