from __future__ import annotations

import uuid

import httpx2
import pytest

from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


def test_pages_hold_every_job_once_newest_first_while_jobs_arrive(edge: EdgeStack) -> None:
    with edge.client(add_key(edge, "pages")) as api:
        made = [api.post("/v1/jobs", json={"prompt": f"p{n}"}).json()["id"] for n in range(25)]
        seen: list[str] = []
        cursor = None
        for _ in range(10):
            params = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
            page = api.get("/v1/jobs", params=params).json()
            seen += [item["id"] for item in page["data"]]
            api.post("/v1/jobs", json={"prompt": "newer"})
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == made[::-1]


def test_a_status_filters(edge: EdgeStack, log: Log) -> None:
    tenant = f"filter-{uuid.uuid4().hex[:8]}"
    waiting, done = job(tenant_id=tenant), job(tenant_id=tenant)
    log.write(happened(waiting, "Admitted"))
    log.write(happened(done, "Admitted", "Started", "Completed"))
    with edge.client(add_key(edge, tenant)) as api:
        until(lambda: len(api.get("/v1/jobs").json()["data"]) == 2, 20)
        for status, wanted in (("completed", [done.job_id]), ("pending", [waiting.job_id])):
            until(
                lambda status=status, wanted=wanted: (
                    [  # type: ignore[misc]
                        item["id"]
                        for item in api.get("/v1/jobs", params={"status": status}).json()["data"]
                    ]
                    == wanted
                ),
                20,
            )
        assert api.get("/v1/jobs", params={"status": "failed"}).json()["data"] == []


@pytest.mark.parametrize("cursor", ["x", "AAAA", "'; DROP TABLE jobs; --", "\u00e9", "A" * 64])
def test_a_tampered_cursor_is_refused(api: httpx2.Client, cursor: str) -> None:
    answer = api.get("/v1/jobs", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_a_cursor_is_refused_to_other_tenants_and_with_other_filters(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    for n in range(2):
        api.post("/v1/jobs", json={"prompt": f"c{n}"})
    cursor = api.get("/v1/jobs", params={"limit": "1"}).json()["next_cursor"]
    with edge.client(add_key(edge, "stranger")) as other:
        for client, extra in ((other, {}), (api, {"order": "asc"}), (api, {"status": "pending"})):
            answer = client.get("/v1/jobs", params={"cursor": cursor, **extra})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["code"] == "invalid_cursor"
