from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.stack.services import environment
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.receiver import Receiver
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


def tenant() -> str:
    """A tenant of the test's own: endpoints tell of all of a tenant's jobs."""
    return f"hooks-{uuid.uuid4().hex[:8]}"


def delivery(api: httpx2.Client, endpoint: str) -> dict[str, Any]:
    found = api.get(f"/v1/webhooks/{endpoint}/deliveries").json()["data"]
    assert len(found) <= 1
    return dict(found[0]) if found else {}


def test_an_endpoint_and_the_jobs_own_url_are_told_signed_with_their_secrets(
    edge: EdgeStack, log: Log
) -> None:
    name = tenant()
    with edge.client(add_key(edge, name)) as api, Receiver() as own, Receiver() as registered:
        made = api.post("/v1/webhooks", json={"url": registered.url})
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert "secret" not in api.get("/v1/webhooks").json()["data"][0]
        of = job(tenant_id=name, webhook_url=own.url)
        log.write(happened(of, "Admitted", "Started", "Completed"))
        [to_own] = own.await_deliveries(1)
        [to_endpoint] = registered.await_deliveries(1)
        event = to_endpoint.verified(secret)
        assert to_own.verified(edge.env["TTV_WEBHOOK_SECRET"]) == event
        assert event["type"] == "job.completed"
        assert event["timestamp"] == "2026-03-01T12:00:02.000Z"
        # What the webhook says, the API says too, at once.
        shown = api.get(f"/v1/jobs/{of.job_id}").json()
        base = f"http://127.0.0.1:{edge.port}"
        links = {rel: base + path for rel, path in shown["links"].items()}
        assert event["data"] == shown | {"links": links}
        assert to_own.webhook_id != to_endpoint.webhook_id
        until(lambda: delivery(api, made.json()["id"]).get("status") == "delivered", 20)


@pytest.mark.parametrize(
    ("kind", "told"), [("Failed", "job.failed"), ("Cancelled", "job.cancelled")]
)
def test_other_ends_are_told_with_their_reason(log: Log, kind: str, told: str) -> None:
    with Receiver() as receiver:
        log.write(happened(job(webhook_url=receiver.url), "Admitted", kind))
        [got] = receiver.await_deliveries(1)
    assert f'"type":"{told}"'.encode() in got.body


def test_an_endpoint_hears_only_the_events_it_asked_for(edge: EdgeStack, log: Log) -> None:
    name = tenant()
    with edge.client(add_key(edge, name)) as api, Receiver() as receiver:
        body = {"url": receiver.url, "events": ["Failed"]}
        assert api.post("/v1/webhooks", json=body).status_code == 201
        log.write(happened(job(tenant_id=name), "Admitted", "Completed"))
        log.write(happened(job(tenant_id=name), "Admitted", "Failed"))
        log.write(happened(job(tenant_id=f"not-{name}"), "Admitted", "Failed"))
        [only] = receiver.await_deliveries(1)
        assert b"job.failed" in only.body
        rows = edge.sql("SELECT 1 FROM webhook_deliveries WHERE tenant_id = $1", name)
        assert len(rows) == 1


def test_a_500_is_tried_again_with_the_same_id_and_a_fresh_signature(
    edge: EdgeStack, log: Log
) -> None:
    with Receiver(lambda n: 500 if n == 0 else 204) as receiver:
        log.write(happened(job(webhook_url=receiver.url), "Admitted", "Completed"))
        soon = (
            "UPDATE webhook_deliveries SET next_at = now() "
            "WHERE url = $1 AND jsonb_array_length(tries) = 1 RETURNING attempts"
        )
        until(lambda: edge.sql(soon, receiver.url) == [{"attempts": 1}], 20)
        first, second = receiver.await_deliveries(2)
        assert first.webhook_id == second.webhook_id
        assert first.body == second.body
        second.verified(edge.env["TTV_WEBHOOK_SECRET"])
        assert second.headers["webhook-timestamp"] >= first.headers["webhook-timestamp"]


def test_410_disables_the_endpoint_and_redirects_are_failures(edge: EdgeStack, log: Log) -> None:
    name = tenant()
    with edge.client(add_key(edge, name)) as api, Receiver(lambda _: 410) as gone:
        endpoint = api.post("/v1/webhooks", json={"url": gone.url}).json()["id"]
        log.write(happened(job(tenant_id=name), "Admitted", "Completed"))
        gone.await_deliveries(1)
        until(lambda: api.get("/v1/webhooks").json()["data"][0]["disabled_at"] is not None, 20)
        notice, gave_up = api.get(f"/v1/webhooks/{endpoint}/deliveries").json()["data"]
        assert (gave_up["status"], gave_up["last_status"]) == ("failed", 410)
        assert (notice["event"], notice["status"]) == ("webhook.disabled", "notice")
        # What it misses from now on is kept for a replay.
        log.write(happened(job(tenant_id=name), "Admitted", "Completed"))
    other = tenant()
    with edge.client(add_key(edge, other)) as api, Receiver(lambda _: 302) as moved:
        endpoint = api.post("/v1/webhooks", json={"url": moved.url}).json()["id"]
        log.write(happened(job(tenant_id=other), "Admitted", "Completed"))
        until(lambda: delivery(api, endpoint).get("last_status") == 302, 20)
    # By now the feed is past both of the first tenant's jobs.
    assert len(gone.deliveries) == 1
    rows = edge.sql(
        "SELECT pending, attempts FROM webhook_deliveries "
        "WHERE tenant_id = $1 AND job_id IS NOT NULL ORDER BY created_at",
        name,
    )
    assert rows == [{"pending": False, "attempts": 1}, {"pending": False, "attempts": 0}]


def test_a_receiver_that_never_answers_delays_nobody(log: Log) -> None:
    release = threading.Event()

    def hang(_: int) -> int:
        release.wait(60)
        return 204

    with Receiver(hang) as stuck, Receiver() as quick:
        log.write(
            [
                e
                for _ in range(40)
                for e in happened(job(webhook_url=stuck.url), "Admitted", "Failed")
            ]
        )
        stuck.await_deliveries(8)
        began = time.monotonic()
        log.write(happened(job(webhook_url=quick.url), "Admitted", "Completed"))
        quick.await_deliveries(1)
        assert time.monotonic() - began < 5
        assert len(stuck.deliveries) <= 8
        release.set()
        stuck.await_deliveries(40)


def test_endpoints_are_checked_and_belong_to_their_tenant(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    for body in (
        {},
        {"url": 7},
        {"url": "file:///etc/passwd"},
        {"url": "http://u:p@example.com"},
        {"url": "http://example.com", "events": []},
        {"url": "http://example.com", "events": ["Started"]},
        {"url": "http://example.com", "secret": "mine"},
        {"url": "http://example.com", "format": "xml"},
        {"url": "http://example.com:6379"},
    ):
        assert api.post("/v1/webhooks", json=body).status_code == 422, body
    made = api.post("/v1/webhooks", json={"url": "http://example.com/x"}).json()["id"]
    with edge.client(add_key(edge, tenant())) as other:
        assert other.get("/v1/webhooks").json()["data"] == []
        assert other.delete(f"/v1/webhooks/{made}").status_code == 404
        assert other.get(f"/v1/webhooks/{made}/deliveries").status_code == 404
    assert api.delete(f"/v1/webhooks/{made}").status_code == 204
    assert api.delete(f"/v1/webhooks/{made}").status_code == 404


def test_a_tenant_has_a_bounded_number_of_endpoints(edge: EdgeStack) -> None:
    with edge.client(add_key(edge, tenant())) as client:
        body = {"url": "http://example.com/x"}
        made = [client.post("/v1/webhooks", json=body).json()["id"] for _ in range(50)]
        refused = client.post("/v1/webhooks", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_endpoints")
        assert client.delete(f"/v1/webhooks/{made[0]}").status_code == 204
        assert client.post("/v1/webhooks", json=body).status_code == 201


def test_a_replay_of_the_feed_makes_no_delivery_twice(bare_edge: EdgeStack) -> None:
    log = bare_edge.log()
    with Receiver() as receiver:
        for _ in range(5):
            log.write(happened(job(webhook_url=receiver.url), "Admitted", "Completed"))
        worker = bare_edge.worker()
        receiver.await_deliveries(5)
        pending = "SELECT count(*) AS n FROM webhook_deliveries WHERE pending"
        until(lambda: bare_edge.sql(pending)[0]["n"] == 0, 20)
        worker.stop()
        bare_edge.sql("DELETE FROM feed_offsets WHERE feed = 'completions'")
        bare_edge.worker()
        offsets = "SELECT coalesce(sum(next_offset), 0) AS n FROM feed_offsets WHERE feed = $1"
        until(lambda: bare_edge.sql(offsets, "completions")[0]["n"] >= 5, 30)
        assert len(bare_edge.sql("SELECT 1 FROM webhook_deliveries")) == 5
        assert bare_edge.sql(pending)[0]["n"] == 0
        assert len(receiver.deliveries) == 5


def test_a_sender_killed_after_the_post_delivers_again_with_the_same_id(
    bare_edge: EdgeStack, tmp_path: Path
) -> None:
    marker = tmp_path / "crash"
    marker.touch()
    log = bare_edge.log()
    with Receiver() as receiver:
        log.write(happened(job(webhook_url=receiver.url), "Admitted", "Completed"))
        doomed = bare_edge.worker({"TTV_CRASH_AT": f"webhook_before_note:{marker}"})
        assert doomed.ended() == -9
        bare_edge.sql("UPDATE webhook_deliveries SET next_at = now()")
        bare_edge.worker()
        first, second = receiver.await_deliveries(2)
        assert first.webhook_id == second.webhook_id
        done = "SELECT delivered FROM webhook_deliveries"
        until(lambda: bare_edge.sql(done) == [{"delivered": True}], 20)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/hook",
        "http://localhost:{port}/hook",
        "http://127.1:{port}/hook",
        "http://2130706433:{port}/hook",
        "http://0x7f000001:{port}/hook",
        "http://[::ffff:127.0.0.1]:{port}/hook",
        "http://[64:ff9b::7f00:1]:{port}/hook",
        "http://0.0.0.0:{port}/hook",
    ],
)
def test_private_addresses_are_not_reached_however_they_are_written(
    strict: Callable[[str], dict[str, Any]], url: str
) -> None:
    with Receiver() as receiver:
        row = strict(url.format(port=receiver.url.split(":")[2].split("/")[0]))
        assert row["last_error"] in {"forbidden_address", "invalid_url"}
        assert row["last_status"] is None
        assert receiver.deliveries == []


@pytest.fixture(scope="module")
def strict(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An edge that refuses private targets: delivers to a URL, gives the delivery's row."""
    made = EdgeStack(environment(stack.info), tmp_path_factory.mktemp("strict"))
    made.provision()
    made.worker({"TTV_WEBHOOK_ALLOW_PRIVATE": "false"})
    log = made.log()

    def deliver(url: str) -> dict[str, Any]:
        log.write(happened(job(webhook_url=url), "Admitted", "Completed"))
        query = "SELECT * FROM webhook_deliveries WHERE url = $1 AND last_error IS NOT NULL"
        until(lambda: len(made.sql(query, url)) == 1, 20)
        return made.sql(query, url)[0]

    yield deliver
    made.close()
