from __future__ import annotations

import uuid

import httpx2
import pytest

from schemas.records import JobRequested
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.integration.ingest.test_submit import add_key

pytestmark = pytest.mark.stack


def test_each_job_of_a_batch_is_taken_or_refused_by_itself(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    taken = str(uuid.uuid4())
    api.post("/v1/jobs", json={"prompt": "first", "job_id": taken})
    jobs = [
        {"prompt": "b0"},
        {"prompt": "b1", "width": 33},
        {"prompt": "other", "job_id": taken},
        {"prompt": "b3", "priority": "low"},
        {},
    ]
    answer = api.post("/v1/jobs/batch", json={"jobs": jobs})
    shown = answer.json()
    assert (answer.status_code, shown["accepted"], shown["refused"]) == (207, 2, 3)
    assert [item["status"] for item in shown["data"]] == [202, 422, 409, 202, 422]
    codes = [(item["problem"] or {}).get("code") for item in shown["data"]]
    assert codes == [None, "invalid_request", "job_conflict", None, "invalid_request"]
    for item in (shown["data"][0], shown["data"][3]):
        shown = api.get(f"/v1/jobs/{item['job']['id']}").json()
        assert shown | {"queue": None} == item["job"]
    sent = {r.value.prompt for r in records(edge, edge.topics.requested("low"), JobRequested)}
    assert "b3" in sent


def test_one_key_stands_for_a_whole_batch(edge: EdgeStack) -> None:
    with edge.client(add_key(edge, "batches")) as api:
        key = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
        body = {"jobs": [{"prompt": f"b{n}"} for n in range(100)]}
        body["jobs"][7] = {"prompt": ""}
        first = api.post("/v1/jobs/batch", json=body, headers=key).json()
        assert (first["accepted"], first["refused"]) == (99, 1)
        cancelled = first["data"][0]["job"]["id"]
        assert api.post(f"/v1/jobs/{cancelled}/cancel").status_code == 202
        again = api.post("/v1/jobs/batch", json=body, headers=key).json()
        for one, other in zip(first["data"], again["data"], strict=True):
            assert one["job"] == other["job"]
        # Bare or in quotes it is the same key, and it is bound to the whole batch.
        bare = {"Idempotency-Key": key["Idempotency-Key"].strip('"')}
        other = api.post("/v1/jobs/batch", json={"jobs": body["jobs"][:9]}, headers=bare)
        single = api.post("/v1/jobs", json={"prompt": "b0"}, headers=key)
        for answer in (other, single):
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
        rows = edge.sql("SELECT 1 FROM jobs WHERE tenant_id = 'batches'")
        assert len(rows) == 99
        listed = api.get("/v1/jobs", params={"limit": 100, "order": "asc"}).json()["data"]
        assert [job["prompt"] for job in listed[:3]] == ["b0", "b1", "b2"]


@pytest.mark.parametrize(
    "body",
    [{}, {"jobs": []}, {"jobs": [{"prompt": "x"}] * 101}, {"jobs": [1]}, {"jobs": [], "x": 1}],
)
def test_what_is_no_batch_is_refused_as_a_whole(
    api: httpx2.Client, body: dict[str, object]
) -> None:
    answer = api.post("/v1/jobs/batch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_batch_has_a_limit_of_its_own(api: httpx2.Client) -> None:
    big = api.post("/v1/jobs/batch", json={"jobs": [{"prompt": "x" * 8000}] * 100})
    assert (big.status_code, big.json()["accepted"]) == (207, 100)
    too_big = api.post("/v1/jobs/batch", json={"jobs": [{"prompt": "x" * 11000}] * 100})
    assert (too_big.status_code, too_big.json()["code"]) == (413, "body_too_large")
    assert "1024 KiB" in too_big.json()["detail"]


def test_a_poll_that_finds_nothing_new_has_no_body(api: httpx2.Client) -> None:
    made = api.post("/v1/jobs", json={"prompt": "poll"}).json()
    path = f"/v1/jobs/{made['id']}"
    first = api.get(path)
    tag = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    same = api.get(path, headers=tag)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    assert api.post(f"{path}/cancel").status_code == 202
    assert api.get(path, headers=tag).status_code == 200


def test_the_first_answer_is_given_again_whatever_has_happened_since(api: httpx2.Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = api.post("/v1/jobs", json={"prompt": "again"}, headers=key)
    assert api.post(f"/v1/jobs/{first.json()['id']}/cancel").status_code == 202
    again = api.post("/v1/jobs", json={"prompt": "again"}, headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
