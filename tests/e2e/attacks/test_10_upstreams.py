"""API10: what comes in by Kafka and by strings that others will interpret: Avro bombs, SQL."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer

from infra.stack import Stack
from schemas.catalog import shipped
from schemas.codec import single_object
from schemas.records import DeadLetter, JobRequested
from tests.support.api import SMALL, Api, fresh_id
from tests.support.feeds import letters
from tests.support.wait import until

TOPIC = "ttv.jobs.requested.normal"
HEADER = b"\xc3\x01" + shipped("JobRequested").fingerprint


def _small() -> dict[str, Any]:
    return dict(SMALL)


def _varint(value: int) -> bytes:
    zigzag, out = (value << 1) ^ (value >> 63), bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


BOMBS = {
    "a string of 2^62 bytes": HEADER + _varint(1) + _varint(2**62),
    "a negative length": HEADER + _varint(1) + _varint(-5),
    "a number without end": HEADER + b"\xff" * 4096,
    "a branch that is not there": HEADER + _varint(2**40),
    "half a million zeros": HEADER + b"\x00" * 500_000,
    "a map of 2^40 entries": None,
}


def _bomb(name: str) -> bytes:
    content = BOMBS[name]
    if content is not None:
        return content + fresh_id().encode()
    asked = JobRequested(tenant_id="default", prompt="x", job_id=fresh_id(), **_small())
    whole = single_object(asked.model_copy(update={"metadata": {"q": "r"}}))
    at = whole.rindex(b"\x02\x02q\x02r")
    return whole[:at] + _varint(2**40) + whole[at + 1 :]


@pytest.mark.parametrize("name", BOMBS)
def test_an_avro_bomb_is_a_dead_letter_and_the_next_job_runs(
    stack: Stack, api: Api, name: str
) -> None:
    bomb = _bomb(name)
    behind = JobRequested(
        tenant_id=stack.info.tenant, prompt="a fox", job_id=fresh_id(), **_small()
    )
    producer = Producer({"bootstrap.servers": stack.info.kafka, "partitioner": "murmur2_random"})
    for value in (bomb, single_object(behind)):
        producer.produce(TOPIC, value, stack.info.tenant.encode())
    assert producer.flush(20) == 0
    found: list[DeadLetter] = []

    def there() -> bool:
        found[:] = [letter for letter in letters(stack.info) if letter.value == bomb]
        return bool(found)

    until(there, 30, lambda: "no dead letter")
    assert found[0].error_class == "permanent"
    api.await_status(str(behind.job_id), "completed")


SQL = (
    "'; DROP TABLE jobs; --",
    "' OR '1'='1",
    "1); DELETE FROM api_keys; --",
    "\\'; SELECT pg_sleep(30); --",
    "%' UNION SELECT secret FROM webhook_endpoints --",
    "$$; COPY jobs TO PROGRAM 'id'; $$",
)


@pytest.mark.parametrize("text", SQL)
def test_sql_in_every_place_stays_text(api: Api, text: str) -> None:
    job = api.submit(prompt=f"a fox {text}", metadata={"note": text})
    assert api.job(job)["metadata"] == {"note": text}
    for query in (
        {"status": text},
        {"cursor": text},
        {"limit": text},
        {"created_after": text},
        {"metadata.note": text},
        {text: "x"},
    ):
        answer = api.http.get("/v1/jobs", params=query)
        assert answer.status_code in {200, 422}, query
    assert api.http.get(f"/v1/jobs/{text}").status_code == 404
    keyed = {"idempotency-key": text.replace("\\", "")}
    answer = api.http.post("/v1/jobs", json={"prompt": "a fox", **_small()}, headers=keyed)
    assert answer.status_code == 202
