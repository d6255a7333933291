"""One trace from the request, or the direct producer's traceparent, to the webhook."""

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from infra.stack import Stack
from schemas.codec import single_object
from schemas.records import JobRequested
from tests.support.api import SMALL, Api, fresh_id
from tests.support.receiver import Receiver
from tests.support.wait import until

ON_THE_WAY = {"admission", "scheduler", "gpu", "worker"}


def spans_of(data: str, trace_id: str) -> list[dict[str, Any]]:
    found = []
    for file in Path(data, "traces").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            if trace_id in line and line.endswith("}"):
                span = json.loads(line)
                if span["context"]["trace_id"] == f"0x{trace_id}":
                    found.append(span)
    return found


def services(spans: list[dict[str, Any]]) -> set[str]:
    names = {span["resource"]["attributes"]["service.name"] for span in spans}
    return {"gpu" if name.startswith("gpu-") else name for name in names}


def check_whole(spans: list[dict[str, Any]], root: str) -> None:
    """Every span hangs, directly or not, under the caller's span ``root``."""
    parents = {span["context"]["span_id"]: span["parent_id"] for span in spans}
    for span_id in parents:
        seen = {span_id}
        at: str | None = span_id
        while at in parents:
            at = parents[at]
            assert at not in seen
            seen.add(str(at))
        assert at == f"0x{root}", [span["name"] for span in spans]


@pytest.mark.parametrize("way", ["http", "kafka"])
def test_a_single_trace_spans_all_parts(stack: Stack, api: Api, way: str) -> None:
    trace_id, root = fresh_id().replace("-", ""), "00f067aa0ba902b7"
    parent = f"00-{trace_id}-{root}-01"
    with Receiver() as receiver:
        if way == "http":
            body = {"prompt": "traced", "webhook_url": receiver.url, **SMALL}
            answer = api.http.post("/v1/jobs", json=body, headers={"traceparent": parent})
            assert answer.status_code == 202
        else:
            fields: dict[str, Any] = SMALL
            request = JobRequested(
                tenant_id=stack.info.tenant, prompt="traced", webhook_url=receiver.url, **fields
            )
            producer = Producer(
                {"bootstrap.servers": stack.info.kafka, "partitioner": "murmur2_random"}
            )
            producer.produce(
                "ttv.jobs.requested.high",
                single_object(request),
                stack.info.tenant.encode(),
                headers=[("traceparent", parent.encode())],
            )
            assert producer.flush(10) == 0
        delivery = receiver.await_deliveries(1, 90)[0]
    assert delivery.headers["traceparent"].split("-")[1] == trace_id
    expected = ON_THE_WAY | ({"api"} if way == "http" else set())
    until(
        lambda: services(spans_of(stack.info.data, trace_id)) >= expected,
        20,
        lambda: f"only {services(spans_of(stack.info.data, trace_id))}",
    )
    check_whole(spans_of(stack.info.data, trace_id), root)
