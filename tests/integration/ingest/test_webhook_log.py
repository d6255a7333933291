from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.receiver import Receiver
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


class Hook:
    """An endpoint of a tenant of the test's own."""

    def __init__(self, api: httpx2.Client, tenant: str, made: dict[str, Any]) -> None:
        self.api, self.tenant, self.secret = api, tenant, made["secret"]
        self.path = f"/v1/webhooks/{made['id']}"

    def log(self, **params: Any) -> list[dict[str, Any]]:
        found = self.api.get(f"{self.path}/deliveries", params=params)
        assert found.status_code == 200, found.text
        return list(found.json()["data"])

    def ended(self, count: int, status: str = "delivered") -> list[dict[str, Any]]:
        until(lambda: len(self.log(status=status)) >= count, 30, lambda: str(self.log()))
        return self.log(status=status)

    def post(self, path: str, body: dict[str, Any] | None = None, status: int = 202) -> Any:
        answer = self.api.post(f"{self.path}{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def hook(edge: EdgeStack, receiver: Receiver) -> Iterator[Hook]:
    tenant = f"hooks-{uuid.uuid4().hex[:8]}"
    with edge.client(add_key(edge, tenant)) as api:
        made = api.post("/v1/webhooks", json={"url": receiver.url}).json()
        yield Hook(api, tenant, made)


def test_an_endpoint_is_read_changed_switched_off_and_on_again(
    hook: Hook, log: Log, receiver: Receiver
) -> None:
    shown = hook.api.get(hook.path).json()
    assert shown["enabled"] is True
    assert (shown["format"], shown["events"]) == ("native", None)
    assert "secret" not in shown
    changed = hook.api.patch(hook.path, json={"events": ["Failed"], "format": "openai"}).json()
    assert (changed["events"], changed["format"], changed["url"]) == (
        ["Failed"], "openai", receiver.url,
    )  # fmt: skip
    off = hook.api.patch(hook.path, json={"enabled": False, "events": None}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "disabled by its owner")
    log.write(happened(job(tenant_id=hook.tenant), "Admitted", "Completed"))
    [missed] = hook.ended(1, "failed")
    assert (missed["attempts"], missed["last_error"]) == (0, "disabled by its owner")
    refused = hook.post("/replay", {"since": missed["created_at"]}, status=409)
    assert refused["code"] == "webhook_disabled"
    on = hook.api.patch(hook.path, json={"enabled": True}).json()
    assert (on["enabled"], on["disabled_reason"]) == (True, None)
    assert receiver.deliveries == []
    for wrong in (
        {"url": "ftp://x"},
        {"url": None},
        {"enabled": 1},
        {"format": ""},
        {"secret": "x"},
    ):
        assert hook.api.patch(hook.path, json=wrong).status_code == 422, wrong
    assert hook.post("/replay", {"since": missed["created_at"]})["replayed"] == 1
    [caught_up] = receiver.await_deliveries(1)
    assert caught_up.webhook_id == missed["id"]


def test_a_rotated_secret_verifies_beside_the_new_one_and_each_is_shown_once(
    hook: Hook, receiver: Receiver
) -> None:
    rotated = hook.api.post(f"{hook.path}/rotate")
    assert rotated.headers["cache-control"] == "no-store"
    new = rotated.json()["secret"]
    assert new != hook.secret
    assert rotated.json()["previous_secret_until"] is not None
    assert hook.post("/test")["event"] == "webhook.test"
    [test] = receiver.await_deliveries(1)
    for secret in (new, hook.secret):
        assert test.verified(secret)["type"] == "webhook.test"
    assert new not in hook.api.get(hook.path).text


def test_deliveries_are_paged_filtered_and_replayed_with_the_same_id(
    hook: Hook, log: Log, receiver: Receiver
) -> None:
    for _ in range(3):
        log.write(happened(job(tenant_id=hook.tenant), "Admitted", "Completed"))
    newest = hook.ended(3)
    receiver.await_deliveries(3)
    assert (
        hook.log(status="failed") == hook.log(status="pending") == hook.log(status="notice") == []
    )
    pages, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = hook.api.get(f"{hook.path}/deliveries", params=params).json()
        pages += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == newest
    assert hook.api.get(f"{hook.path}/deliveries", params={"cursor": "x"}).status_code == 422
    [line] = newest[0]["tries"]
    assert (line["status"], line["error"]) == (204, None)
    oldest = newest[-1]
    again = hook.post(f"/deliveries/{oldest['id']}/replay")
    assert (again["status"], again["attempts"]) == ("pending", 0)
    assert receiver.await_deliveries(4)[3].webhook_id == oldest["id"]
    hook.ended(3)
    one = hook.api.get(f"{hook.path}/deliveries/{oldest['id']}").json()
    assert len(one["tries"]) == 2
    since = newest[1]["created_at"]
    assert hook.post("/replay", {"since": since, "only_failed": True})["replayed"] == 0
    done = hook.post("/replay", {"since": since, "until": "2100-01-01T00:00:00Z"})
    assert done == {"replayed": 2, "next_since": None}
    repeated = {item.webhook_id for item in receiver.await_deliveries(6)[4:]}
    assert repeated == {newest[0]["id"], newest[1]["id"]}
    for wrong in ({}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"since": 5}):
        hook.post("/replay", wrong, status=422)


def test_the_openai_client_unwraps_what_an_endpoint_in_its_format_gets(
    hook: Hook, log: Log, receiver: Receiver
) -> None:
    hook.api.patch(hook.path, json={"format": "openai"})
    of = job(tenant_id=hook.tenant)
    log.write(happened(job(tenant_id=hook.tenant), "Admitted", "Cancelled"))
    log.write(happened(of, "Admitted", "Failed"))
    [got] = receiver.await_deliveries(1)
    client = openai.OpenAI(api_key="none", webhook_secret=hook.secret)
    event = client.webhooks.unwrap(got.body, got.headers)
    assert str(event.type) == "video.failed"
    assert getattr(event.data, "id", None) == of.job_id


def test_a_test_reaches_a_disabled_endpoint_once_and_no_other_tenants_key_reaches_it(
    edge: EdgeStack, hook: Hook
) -> None:
    with Receiver(lambda _: 500) as broken:
        hook.api.patch(hook.path, json={"url": broken.url, "enabled": False})
        sent = hook.post("/test")
        [failed] = hook.ended(1, "failed")
        assert (failed["id"], failed["attempts"], failed["last_status"]) == (sent["id"], 1, 500)
        assert failed["job_id"] is None
    with edge.client(add_key(edge, f"not-{hook.tenant}")) as other:
        deliveries = f"{hook.path}/deliveries"
        for method, path in (
            ("GET", hook.path),
            ("PATCH", hook.path),
            ("GET", deliveries),
            ("GET", f"{deliveries}/{sent['id']}"),
            ("POST", f"{deliveries}/{sent['id']}/replay"),
            ("POST", f"{hook.path}/replay"),
            ("POST", f"{hook.path}/rotate"),
            ("POST", f"{hook.path}/test"),
            ("DELETE", hook.path),
        ):
            body = {"since": "2026-01-01T00:00:00Z"} if path.endswith("/replay") else {}
            answer = other.request(method, path, json=body if method != "GET" else None)
            assert answer.status_code == 404, (method, path)
    for wrong in ("x", "msg_", f"{sent['id']}0", f"msg_{uuid.uuid4().hex}"):
        assert hook.api.get(f"{hook.path}/deliveries/{wrong}").status_code == 404
