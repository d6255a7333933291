"""A prompt is personal data: it is in no log and in no trace, whatever becomes of its job."""

from pathlib import Path

from confluent_kafka import Producer

from infra.stack import Stack
from schemas.codec import single_object
from schemas.records import JobRequested
from tests.support.api import SMALL, Api, fresh_id
from tests.support.feeds import letters
from tests.support.wait import until


def test_a_canary_prompt_shows_up_nowhere(stack: Stack, api: Api) -> None:
    canary = f"canary {fresh_id()}"
    done = api.submit(prompt=canary, negative_prompt=canary)
    cancelled = api.submit(prompt=canary, num_inference_steps=256)
    api.http.post(f"/v1/jobs/{cancelled}/cancel")
    refused = {"prompt": canary, **SMALL, "num_frames": 8}
    assert api.http.post("/v1/jobs", json=refused).status_code == 422
    bad = JobRequested(tenant_id=stack.info.tenant, prompt=canary, num_frames=8)
    producer = Producer({"bootstrap.servers": stack.info.kafka})
    for value in (single_object(bad), single_object(bad)[:-3]):
        producer.produce("ttv.jobs.requested.low", value, stack.info.tenant.encode())
    assert producer.flush(10) == 0
    api.await_status(done, "completed")
    api.await_status(cancelled, "cancelled", "completed")

    def in_letters() -> int:
        return sum(canary.encode() in (letter.value or b"") for letter in letters(stack.info))

    until(lambda: in_letters() >= 2, 30, lambda: f"{in_letters()} letters")
    for letter in letters(stack.info):
        assert canary not in letter.reason
    files = [*Path(stack.info.data, "logs").iterdir(), *Path(stack.info.data, "traces").iterdir()]
    assert len(files) > 10
    for file in files:
        assert canary.encode() not in file.read_bytes(), file.name
