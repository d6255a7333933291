from __future__ import annotations

import json
import uuid
from typing import Any

import httpx2
import pytest

from schemas.records import JobRequested
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.reading import records
from tests.support.receiver import Receiver
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


def spans(edge: EdgeStack, trace_id: str) -> dict[str, dict[str, Any]]:
    """The trace's finished spans by name."""
    found = {}
    for path in edge.folder.glob("traces/*.jsonl"):
        for line in path.read_text().splitlines():
            span = json.loads(line)
            if span["context"]["trace_id"] == f"0x{trace_id}":
                found[span["name"]] = span
    return found


def test_one_trace_runs_from_the_request_through_kafka_to_the_webhook(
    edge: EdgeStack, api: httpx2.Client, log: Log
) -> None:
    trace_id = uuid.uuid4().hex
    caller = f"00-{trace_id}-00f067aa0ba902b7-01"
    with Receiver() as receiver:
        body = {"prompt": "traced", "webhook_url": receiver.url}
        job_id = api.post("/v1/jobs", json=body, headers={"traceparent": caller}).json()["id"]
        topic = edge.topics.requested("normal")
        [record] = [r for r in records(edge, topic, JobRequested) if r.value.job_id == job_id]
        onwards = record.headers["traceparent"].decode()
        log.write(
            happened(job(job_id=job_id, webhook_url=receiver.url), "Admitted", "Completed"), onwards
        )
        [delivery] = receiver.await_deliveries(1)
    assert delivery.headers["traceparent"].split("-")[1] == trace_id
    until(lambda: "webhook deliver" in spans(edge, trace_id), 20)
    found = spans(edge, trace_id)
    assert found["POST /v1/jobs"]["parent_id"] == "0x00f067aa0ba902b7"
    published = found["jobs.requested publish"]
    assert published["parent_id"] == found["POST /v1/jobs"]["context"]["span_id"]
    assert found["webhook deliver"]["parent_id"] == published["context"]["span_id"]
    sent = delivery.headers["traceparent"].split("-")[2]
    assert found["webhook deliver"]["context"]["span_id"] == f"0x{sent}"


@pytest.mark.parametrize("value", ["", "x", "00-0-0-0", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01"])
def test_a_malformed_traceparent_starts_a_trace_of_its_own(
    edge: EdgeStack, api: httpx2.Client, value: str
) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "t"}, headers={"traceparent": value}).json()["id"]
    topic = edge.topics.requested("normal")
    [record] = [r for r in records(edge, topic, JobRequested) if r.value.job_id == job_id]
    assert record.headers["traceparent"].startswith(b"00-")
