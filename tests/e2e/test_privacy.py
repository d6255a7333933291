"""A prompt is personal data: it is in no log and in no trace, whatever becomes of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx2
from confluent_kafka import Producer

from infra.stack import Stack
from schemas.codec import single_object
from schemas.records import AuditEvent, JobRequested
from tests.support.api import SMALL, Api, fresh_id
from tests.support.feeds import letters, read_all, read_messages, settings_of
from tests.support.receiver import Receiver
from tests.support.wait import until

#: The built-in block list has it.
BLOCKED = "csam"


def test_a_canary_prompt_shows_up_nowhere(stack: Stack, api: Api) -> None:
    canary = f"canary {fresh_id()}"
    with Receiver(lambda _: 500) as receiver:
        done = api.submit(prompt=canary, negative_prompt=canary, webhook_url=receiver.url)
        cancelled = api.submit(prompt=canary, num_inference_steps=256)
        api.http.post(f"/v1/jobs/{cancelled}/cancel")
        turned_down(api, canary)
        broken_in_the_database(stack, api, canary)
        straight_to_kafka(stack, canary)
        api.await_status(done, "completed")
        api.await_status(cancelled, "cancelled", "completed")
        until(lambda: len(receiver.deliveries) >= 1, 30)
    until(
        lambda: in_letters(stack, canary) >= 3, 30, lambda: f"{in_letters(stack, canary)} letters"
    )
    until(lambda: {"prompt.blocked", "prompt.outlier"} <= audited(stack), 30)
    assert_nowhere(stack, canary)


def turned_down(api: Api, canary: str) -> None:
    """Every refusal of a submit; none of them quotes."""
    accepted = fresh_id()
    keyed = {"Idempotency-Key": fresh_id()}
    api.submit(prompt=f"{canary} {'a cat, ' * 100}", job_id=accepted)  # odd, and told to the audit
    assert (
        api.http.post("/v1/jobs", json={"prompt": canary, **SMALL}, headers=keyed).status_code
        == 202
    )
    answers = {
        422: [
            api.http.post("/v1/jobs", json={"prompt": canary, **SMALL, "num_frames": 8}),
            api.http.post("/v1/jobs", json={"prompt": f"{canary} C.S.A.M"}),
            api.http.post("/v1/jobs", json={"prompt": f"{canary}\u202e"}),
            api.http.post("/v1/jobs", json={"prompt": canary}, headers=keyed),
        ],
        409: [api.http.post("/v1/jobs", json={"prompt": canary, "job_id": accepted})],
        400: [api.http.post("/v1/jobs", content=f'{{"prompt": "{canary}"', headers=_JSON)],
        413: [api.http.post("/v1/jobs", json={"prompt": canary * 10_000})],
        415: [api.http.post("/v1/jobs", content=canary)],
        401: [api.http.post("/v1/jobs", json={"prompt": canary}, headers=_NO_KEY)],
        404: [api.http.post(f"/v1/{canary}", json={"prompt": canary})],
    }
    for status, found in answers.items():
        for answer in found:
            assert answer.status_code == status, answer.text
            assert canary not in answer.text
    assert answers[422][1].json()["code"] == "prompt_blocked"


_JSON = {"content-type": "application/json"}
_NO_KEY = {"authorization": "Bearer wrong"}


def broken_in_the_database(stack: Stack, api: Api, canary: str) -> None:
    """PostgreSQL refuses the row, and its error quotes all of it."""
    marked = f"{canary} marked"
    with constraint(stack, f"request->>'prompt' <> '{marked}'"):
        answer = api.http.post("/v1/jobs", json={"prompt": marked, **SMALL})
    assert answer.status_code in {500, 503}
    assert canary not in answer.text
    # Its log would quote the beginning of every column, so a whole canary is not what to look for.
    said = stack.log_tail("postgres", lines=200)
    assert 'violates check constraint "canary"' in said
    assert "Failing row" not in said


@contextmanager
def constraint(stack: Stack, check: str) -> Iterator[None]:
    """New rows of jobs must pass ``check`` in the block."""

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(stack.info.postgres)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f"ALTER TABLE jobs ADD CONSTRAINT canary CHECK ({check}) NOT VALID"))
    try:
        yield
    finally:
        asyncio.run(run("ALTER TABLE jobs DROP CONSTRAINT canary"))


def straight_to_kafka(stack: Stack, canary: str) -> None:
    """One that breaks a rule, one that is blocked, and one that is cut short."""
    tenant = stack.info.tenant
    bad = JobRequested(tenant_id=tenant, prompt=canary, num_frames=8)
    blocked = JobRequested(tenant_id=tenant, prompt=f"{canary} {BLOCKED}")
    producer = Producer({"bootstrap.servers": stack.info.kafka})
    for value in (single_object(bad), single_object(blocked), single_object(bad)[:-3]):
        producer.produce("ttv.jobs.requested.low", value, tenant.encode())
    assert producer.flush(10) == 0


def in_letters(stack: Stack, canary: str) -> int:
    """Dead letters that keep the canary's bytes, as they should."""
    return sum(canary.encode() in (letter.value or b"") for letter in letters(stack.info))


def audited(stack: Stack) -> set[str]:
    """Kinds of event on the audit topic."""
    return {event.kind for event in read_all(stack.info, "ttv.audit", AuditEvent)}


def assert_nowhere(stack: Stack, canary: str) -> None:
    """No log, trace, metrics page, letter's reason or header, and no audit event holds it."""
    found = letters(stack.info)
    assert "prompt_blocked" in {letter.code for letter in found}
    for letter in found:
        assert canary not in letter.reason
    settings = settings_of(stack.info)
    for topic in ("ttv.jobs.dlq", "ttv.audit"):
        for message in read_messages(settings, topic):
            assert canary.encode() not in repr(message.headers()).encode()
    for message in read_messages(settings, "ttv.audit"):
        assert canary.encode() not in bytes(message.value() or b"")
    for page in stack.info.metrics:
        assert canary not in httpx2.get(page, timeout=10).text
    files = [*Path(stack.info.data, "logs").iterdir(), *Path(stack.info.data, "traces").iterdir()]
    assert len(files) > 10
    for file in files:
        assert canary.encode() not in file.read_bytes(), file.name
