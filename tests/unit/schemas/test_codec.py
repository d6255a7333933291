"""The codec: golden vectors, and every way in which bytes can be wrong."""

import json
import struct
from datetime import UTC, datetime

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas.catalog import released, shipped
from schemas.codec import MAX_BYTES, Codec, single_object
from schemas.errors import (
    RecordTooLarge,
    RegistryUnavailable,
    UnknownSchema,
    Unreadable,
    WrongRecordType,
)
from schemas.records import CancelRequested, JobRequested

REQUEST = JobRequested(
    tenant_id="acme",
    prompt="a fox in the snow ❄",
    num_frames=7,
    guidance_scale=4.5,
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    metadata={"order": "42"},
)
#: As version 1 of the schema wrote it: producers that have not been upgraded still do.
GOLDEN_BODY_1 = (
    "000861636d652a6120666f7820696e2074686520736e6f7720e29d84000000020e000200000000000012400000"
    "0280d0dee8d9680000020a6f7264657204343200"
)
GOLDEN_BODY = GOLDEN_BODY_1 + "00"
CANCEL = CancelRequested(job_id="6f0c1c52-6f0e-5d4e-9a63-8b7a3f6f2a10", tenant_id="acme")
GOLDEN_CANCEL = (
    "4836663063316335322d366630652d356434652d396136332d3862376133663666326131300861636d6500"
)


class OneRegistry:
    """Knows the ids it is given and counts how often it is asked."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts = texts
        self.asked = 0

    def id_of(self, subject: str, text: str) -> int:
        del subject
        return next(i for i, known in self.texts.items() if json.loads(known) == json.loads(text))

    def text_of(self, schema_id: int) -> str | None:
        self.asked += 1
        return self.texts.get(schema_id)


@pytest.fixture
def registry() -> OneRegistry:
    foreign = '{"type":"record","name":"Bomb","fields":[{"name":"a","type":"string"}]}'
    return OneRegistry(
        {
            7: shipped("JobRequested").text,
            8: shipped("CancelRequested").text,
            9: foreign,
            10: '{"type":"array","items":{"type":"record","name":"E","fields":[]}}',
            11: "not a schema",
            12: '{"type":' * 100_000,
            13: released("JobRequested")[0][1],
        }
    )


@pytest.fixture
def codec(registry: OneRegistry) -> Codec:
    return Codec(registry)


def framed(schema_id: int, body: bytes) -> bytes:
    return struct.pack(">bI", 0, schema_id) + body


def test_golden_vectors(codec: Codec) -> None:
    assert codec.encode("ttv.jobs.requested.normal", REQUEST).hex() == "0000000007" + GOLDEN_BODY
    assert codec.encode("ttv.jobs.control", CANCEL).hex() == "0000000008" + GOLDEN_CANCEL
    mark = shipped("CancelRequested").fingerprint.hex()
    assert single_object(CANCEL).hex() == "c301" + mark + GOLDEN_CANCEL


def test_a_producer_that_has_not_been_upgraded_is_still_read(codec: Codec) -> None:
    assert codec.decode(JobRequested, framed(13, bytes.fromhex(GOLDEN_BODY_1))) == REQUEST


def test_the_plain_confluent_serializer_passes_the_golden_vector() -> None:
    client = SchemaRegistryClient.new_client({"url": "mock://golden"})
    topic = "ttv.jobs.requested.normal"
    client.register_schema(f"{topic}-value", Schema(shipped("JobRequested").text, "AVRO"))
    serialize = AvroSerializer(
        client, shipped("JobRequested").text, conf={"auto.register.schemas": False}
    )
    data = serialize(REQUEST.model_dump(), SerializationContext(topic, MessageField.VALUE))
    assert data is not None
    assert data[5:].hex() == GOLDEN_BODY


@pytest.mark.parametrize("record", [REQUEST, CANCEL])
def test_both_framings_round_trip(codec: Codec, record: JobRequested | CancelRequested) -> None:
    assert codec.decode(type(record), codec.encode("topic", record)) == record
    assert codec.decode(type(record), single_object(record)) == record


def test_an_id_is_looked_up_once(codec: Codec, registry: OneRegistry) -> None:
    data = framed(7, bytes.fromhex(GOLDEN_BODY))
    assert codec.needs_registry(data)
    for _ in range(3):
        codec.decode(JobRequested, data)
    assert not codec.needs_registry(data)
    assert registry.asked == 1


def test_an_unknown_id_is_not_asked_for_again_at_once(codec: Codec, registry: OneRegistry) -> None:
    for _ in range(3):
        with pytest.raises(UnknownSchema):
            codec.decode(JobRequested, framed(999, b""))
    assert registry.asked == 1


@pytest.mark.parametrize("schema_id", [9, 10, 11, 12])
def test_a_schema_that_is_not_shipped_is_refused(codec: Codec, schema_id: int) -> None:
    with pytest.raises(UnknownSchema):
        codec.decode(JobRequested, framed(schema_id, b"\x02\x61"))


def test_a_fingerprint_that_is_not_shipped_is_refused(codec: Codec) -> None:
    with pytest.raises(UnknownSchema):
        codec.decode(JobRequested, b"\xc3\x01" + b"\x00" * 8 + b"rest")


def test_the_record_of_another_topic_is_refused(codec: Codec) -> None:
    with pytest.raises(WrongRecordType):
        codec.decode(JobRequested, single_object(CANCEL))


@pytest.mark.parametrize(
    "data", [None, b"", b"\x00", b"{}", b"garbage", b"\x01\x02\x03\x04\x05\x06"]
)
def test_garbage_is_unreadable(codec: Codec, data: bytes | None) -> None:
    with pytest.raises(Unreadable):
        codec.decode(JobRequested, data)


def test_every_truncation_is_unreadable(codec: Codec) -> None:
    whole = framed(7, bytes.fromhex(GOLDEN_BODY))
    for length in range(5, len(whole)):
        with pytest.raises(Unreadable):
            codec.decode(JobRequested, whole[:length])


def test_trailing_bytes_are_unreadable(codec: Codec) -> None:
    with pytest.raises(Unreadable, match="1 bytes follow"):
        codec.decode(JobRequested, framed(7, bytes.fromhex(GOLDEN_BODY) + b"\x00"))


def test_a_value_over_the_limit_is_not_even_looked_at(codec: Codec, registry: OneRegistry) -> None:
    with pytest.raises(RecordTooLarge):
        codec.decode(JobRequested, framed(7, b"x" * MAX_BYTES))
    assert registry.asked == 0


def test_a_time_that_no_calendar_holds_is_unreadable(codec: Codec) -> None:
    body = bytes.fromhex(GOLDEN_BODY).replace(bytes.fromhex("80d0dee8d968"), b"\xff" * 9 + b"\x01")
    with pytest.raises(Unreadable):
        codec.decode(JobRequested, framed(7, body))


def test_errors_do_not_quote_the_value(codec: Codec) -> None:
    secret = REQUEST.model_copy(update={"prompt": "canary-prompt"})
    with pytest.raises(Unreadable) as caught:
        codec.decode(JobRequested, single_object(secret) + b"!")
    assert "canary" not in repr(caught.value)


def test_a_registry_that_is_away_is_not_the_records_fault() -> None:
    class Away:
        def id_of(self, subject: str, text: str) -> int:
            raise RegistryUnavailable(subject + text[:0])

        def text_of(self, schema_id: int) -> str | None:
            raise RegistryUnavailable(str(schema_id))

    with pytest.raises(RegistryUnavailable) as caught:
        Codec(Away()).decode(JobRequested, framed(7, b""))
    assert caught.value.failure_class == "retryable"
