"""API1: another tenant's ids, on every route that takes one."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.routes import documented_routes
from tests.support.api import Api, fresh_id

#: What may differ between two answers to the same question.
_VARIES = re.compile(r'"trace_id":"[0-9a-f]*"')


@pytest.fixture(scope="module")
def owned(api: Api) -> dict[str, str]:
    """Ids that belong to the stack's own tenant, by the name of a path's parameter."""
    job = api.submit(metadata={"of": "the victim"})
    api.await_status(job, "completed")
    hook = api.http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9999/never"})
    assert hook.status_code == 201, hook.text
    return {"job_id": job, "video_id": job, "endpoint_id": hook.json()["id"]}


def _call(client: httpx2.Client, method: str, path: str) -> tuple[int, str]:
    body: dict[str, str] | None = {} if method in {"POST", "PUT", "PATCH"} else None
    answer = client.request(method, path, json=body)
    return answer.status_code, _VARIES.sub("", answer.text)


def test_another_tenants_id_is_answered_as_one_that_nobody_has(
    api: Api, stranger: httpx2.Client, owned: dict[str, str]
) -> None:
    walked = 0
    for route in documented_routes(stranger):
        if not route.parameters() or not set(route.parameters()) <= set(owned):
            continue
        unknown = dict.fromkeys(route.parameters(), fresh_id())
        status, body = _call(stranger, route.method, route.at(owned))
        assert status >= 400, (route, status)
        expected_status, expected = _call(stranger, route.method, route.at(unknown))
        assert status == expected_status, route
        for name in route.parameters():
            body = body.replace(owned[name], "ID")
            expected = expected.replace(unknown[name], "ID")
        assert body == expected, route
        walked += 1
    assert walked >= 15
    assert api.job(owned["job_id"])["status"] == "completed"
    assert len(api.video(owned["job_id"])) > 100
    hooks = api.http.get("/v1/webhooks").json()["data"]
    assert owned["endpoint_id"] in {hook["id"] for hook in hooks}


def test_a_strangers_list_shows_nothing_whatever_it_asks_for(
    api: Api, stranger: httpx2.Client, owned: dict[str, str]
) -> None:
    page = api.http.get("/v1/jobs", params={"limit": 1}).json()
    for query in (
        {},
        {"metadata.of": "the victim"},
        {"tenant_id": "default"},
        {"status": "completed"},
        {"cursor": page["next_cursor"] or "AAAA"},
    ):
        answer = stranger.get("/v1/jobs", params=query)
        assert owned["job_id"] not in answer.text
        assert answer.status_code == 422 or answer.json()["data"] == []


def test_a_job_id_of_another_tenant_can_be_neither_taken_over_nor_read_out(
    api: Api, stranger: httpx2.Client, owned: dict[str, str]
) -> None:
    body = {"prompt": "mine now", "job_id": owned["job_id"]}
    answer = stranger.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_conflict")
    assert "victim" not in answer.text
    assert api.job(owned["job_id"])["metadata"] == {"of": "the victim"}


def test_a_presigned_link_opens_its_own_object_alone(
    stack: Stack, api: Api, owned: dict[str, str]
) -> None:
    other = api.submit()
    api.await_status(other, "completed")
    link = api.http.get(f"/v1/jobs/{owned['job_id']}/video").headers["location"]
    elsewhere = api.http.get(f"/v1/jobs/{other}/video").headers["location"]
    path, _, query = link.partition("?")
    bucket = f"{stack.info.s3.endpoint}/{stack.info.s3.bucket}"
    lasting = re.sub(r"X-Amz-Expires=\d+", "X-Amz-Expires=604800", link)
    attempts: dict[str, Callable[[], httpx2.Response]] = {
        "another key": lambda: httpx2.get(f"{elsewhere.partition('?')[0]}?{query}"),
        "the bucket": lambda: httpx2.get(f"{bucket}?{query}"),
        "a longer life": lambda: httpx2.get(lasting),
        "another method": lambda: httpx2.put(link, content=b"overwritten"),
        "a deletion": lambda: httpx2.delete(link),
        "no signature": lambda: httpx2.get(path),
        "another type": lambda: httpx2.get(link.replace("video%2Fmp4", "text%2Fhtml")),
    }
    for name, attempt in attempts.items():
        assert attempt().status_code in {400, 403, 405}, name
    assert httpx2.get(link).status_code == 200
