"""Bad input on Kafka is refused or a dead letter, and the jobs behind it still run."""

import json
import struct
import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from infra.setup.paths import ROOT
from infra.stack import Stack
from schemas.catalog import shipped
from schemas.codec import codec, single_object
from schemas.records import CancelRequested, DeadLetter, JobRequested
from tests.support.api import SMALL, Api, fresh_id
from tests.support.feeds import completions, letters
from tests.support.wait import until

TOPIC = "ttv.jobs.requested.normal"
FOREIGN = '{"type":"record","name":"Other","fields":[{"name":"a","type":"string"}]}'


def request(stack: Stack, **fields: Any) -> JobRequested:
    return JobRequested(tenant_id=stack.info.tenant, prompt="a fox", **{**SMALL, **fields})


def produce(stack: Stack, *values: bytes) -> None:
    """All to the tenant's partition, so that each lies behind the one before."""
    producer = Producer(
        {
            "bootstrap.servers": stack.info.kafka,
            "partitioner": "murmur2_random",
            "message.max.bytes": 3_000_000,
        }
    )
    for value in values:
        producer.produce(TOPIC, value, stack.info.tenant.encode())
    assert producer.flush(20) == 0


def await_letter(stack: Stack, value: bytes) -> DeadLetter:
    found: list[DeadLetter] = []

    def there() -> bool:
        found[:] = [letter for letter in letters(stack.info) if letter.value == value]
        return bool(found)

    until(there, 30, lambda: "no dead letter")
    return found[0]


def register(stack: Stack, subject: str, text: str) -> int:
    with SchemaRegistryClient({"url": stack.info.registry}) as client:
        return int(client.register_schema(subject, Schema(text, "AVRO")))


def unreadable(stack: Stack, kind: str) -> bytes:
    whole = codec(stack.info.registry).encode(TOPIC, request(stack, job_id=fresh_id()))
    match kind:
        case "garbage":
            return b"\xde\xad\xbe\xef" + fresh_id().encode()
        case "truncated":
            return whole[: len(whole) // 2]
        case "unknown id":
            return struct.pack(">bI", 0, 2_000_000_000) + fresh_id().encode()
        case "foreign schema":
            number = register(stack, "other-value", FOREIGN)
            return struct.pack(">bI", 0, number) + b"\x48" + fresh_id().encode()
        case "wrong type":
            return single_object(CancelRequested(job_id=fresh_id(), tenant_id="acme"))
        case "frames 7.5":
            return frames_as_double(stack)
        case _:
            raise AssertionError(kind)


def frames_as_double(stack: Stack) -> bytes:
    """What a producer writes whose own schema has a double where an int belongs."""
    schema = json.loads(shipped("JobRequested").text)
    frames = next(field for field in schema["fields"] if field["name"] == "num_frames")
    frames["type"] = ["null", "double"]
    number = register(stack, "frames-value", json.dumps(schema))
    body = single_object(request(stack, job_id=fresh_id(), num_frames=None))[10:]
    return struct.pack(">bI", 0, number) + body


CODES = {
    "garbage": "unreadable_record",
    "truncated": "unreadable_record",
    "unknown id": "unknown_schema",
    "foreign schema": "unknown_schema",
    "wrong type": "wrong_record_type",
    "frames 7.5": "unknown_schema",
}


@pytest.mark.parametrize("kind", CODES)
def test_what_cannot_be_read_is_a_dead_letter_and_the_next_job_runs(
    stack: Stack, api: Api, kind: str
) -> None:
    bad, behind = unreadable(stack, kind), request(stack, job_id=fresh_id())
    produce(stack, bad, single_object(behind))
    letter = await_letter(stack, bad)
    assert (letter.code, letter.error_class, letter.topic) == (CODES[kind], "permanent", TOPIC)
    assert behind.job_id is not None
    api.await_status(behind.job_id, "completed")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "x" * (1024 * 1024)}, "prompt_too_long"),
        ({"num_frames": 8}, "invalid_num_frames"),
        ({"width": 100_000, "height": 3}, "invalid_width"),
        ({"num_inference_steps": -4}, "invalid_num_inference_steps"),
    ],
    ids=["1 MiB prompt", "frames 8", "100000x3", "negative steps"],
)
def test_a_request_that_breaks_a_rule_is_refused_with_its_reason(
    stack: Stack, api: Api, fields: dict[str, Any], code: str
) -> None:
    bad = request(stack, job_id=fresh_id()).model_copy(update=fields)
    behind = request(stack, job_id=fresh_id())
    produce(stack, single_object(bad), single_object(behind))
    assert bad.job_id is not None
    assert behind.job_id is not None
    job = api.await_status(bad.job_id, "failed")
    assert job["reason"]["code"] == "invalid_request"
    assert code in job["reason"]["message"]
    api.await_status(behind.job_id, "completed")
    assert completions(stack.info)[bad.job_id] == 1


def test_a_job_sent_twice_completes_once_and_another_spec_under_its_id_is_a_conflict(
    stack: Stack, api: Api
) -> None:
    first = request(stack, job_id=fresh_id())
    assert first.job_id is not None
    other = first.model_copy(update={"prompt": "another picture"})
    produce(stack, single_object(first), single_object(first), single_object(other))
    api.await_status(first.job_id, "completed")

    def conflict() -> bool:
        return any(
            letter.job_id == first.job_id and letter.code == "job_conflict"
            for letter in letters(stack.info)
        )

    until(conflict, 30, lambda: "no conflict letter")
    assert completions(stack.info)[first.job_id] == 1


def test_the_example_produces_a_job_with_nothing_but_a_confluent_client(
    stack: Stack, api: Api
) -> None:
    script = ROOT / "schemas" / "examples" / "produce_job.py"
    fields = [f"{name}={value}" for name, value in SMALL.items()]
    done = subprocess.run(
        [
            sys.executable,
            str(script),
            stack.info.kafka,
            stack.info.registry,
            stack.info.tenant,
            "a paper boat",
            *fields,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    job = api.await_status(done.stdout.strip(), "completed")
    assert job["artifact"]["frames"] == SMALL["num_frames"]
