from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from confluent_kafka import Producer

from infra.kafka import PARTITIONER, common
from ingest.db import engine
from ingest.identity.policy import Role
from ingest.store import issued_keys, keys
from schemas.job import spec_digest
from schemas.records import JobRequested
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records

pytestmark = pytest.mark.stack


def add_key(edge: EdgeStack, tenant: str, role: Role = "creator", *, revoke: bool = False) -> str:
    key = f"ttv_{uuid.uuid4().hex}"

    async def run() -> None:
        database = engine(edge.settings, 1)
        async with database.begin() as connection:
            await keys.add(connection, key, tenant, role)
            if revoke:
                made = await keys.identify(connection, key)
                assert made is not None
                await issued_keys.revoke(connection, made.key_id)
        await database.dispose()

    asyncio.run(run())
    return key


def test_a_submitted_job_is_read_back_at_once_with_every_default(api: httpx2.Client) -> None:
    answer = api.post("/v1/jobs", json={"prompt": "a fox", "metadata": {"k": "v"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    # A place in the queue is looked up by who reads; it moves.
    assert api.get(answer.headers["location"]).json() | {"queue": None} == job
    assert (job["status"], job["width"], job["height"], job["num_frames"]) == (
        "pending",
        848,
        480,
        163,
    )
    assert job["metadata"] == {"k": "v"}
    assert job["reason"] is job["artifact"] is job["progress"] is None


def test_the_record_keeps_what_was_left_out_null_and_lands_where_librdkafka_would_put_it(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "null", "priority": "high", "seed": 7}).json()[
        "id"
    ]
    topic = edge.topics.requested("high")
    [record] = [r for r in records(edge, topic, JobRequested) if r.value.job_id == job_id]
    direct = JobRequested(tenant_id="default", prompt="null", seed=7)
    assert record.value == direct.model_copy(update={"job_id": job_id})
    assert spec_digest(record.value) == spec_digest(direct)
    assert record.key == b"default"
    assert record.partition == murmur2_partition(edge, topic, b"default")
    assert "traceparent" in record.headers
    assert record.headers["ce_subject"].decode() == job_id


def murmur2_partition(edge: EdgeStack, topic: str, key: bytes) -> int:
    """Where librdkafka puts a key, with the partitioner that this service sets."""
    found: list[int] = []
    producer = Producer(common(edge.settings) | {"partitioner": PARTITIONER})
    probe = edge.topics.requested("low")
    producer.produce(probe, b"", key, on_delivery=lambda _, m: found.append(m.partition() or 0))
    assert producer.flush(20) == 0
    assert len(producer.list_topics(topic).topics[topic].partitions) == 6
    return found[0]


def test_an_idempotency_key_gives_one_job_to_a_hundred_submits_at_once(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    key = f"race-{uuid.uuid4()}"

    def submit(_: int) -> httpx2.Response:
        return api.post("/v1/jobs", json={"prompt": "race"}, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(100)))
    made = [answer for answer in answers if answer.status_code == 202]
    early = [answer for answer in answers if answer.status_code != 202]
    assert len({answer.json()["id"] for answer in made}) == 1
    assert {(a.status_code, a.json()["code"]) for a in early} <= {(409, "idempotency_in_flight")}
    rows = edge.sql("SELECT 1 FROM jobs WHERE spec->>'prompt' = 'race'")
    assert len(rows) == 1
    sent = records(edge, edge.topics.requested("normal"), JobRequested)
    assert sum(r.value.prompt == "race" for r in sent) == 1


def test_an_idempotency_key_is_bound_to_the_whole_request(api: httpx2.Client) -> None:
    headers = {"Idempotency-Key": f"bound-{uuid.uuid4()}"}
    first = api.post("/v1/jobs", json={"prompt": "one"}, headers=headers)
    again = api.post("/v1/jobs", json={"prompt": "one"}, headers=headers)
    other = api.post("/v1/jobs", json={"prompt": "one", "priority": "low"}, headers=headers)
    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")


def test_a_job_id_given_twice_is_one_job_and_with_another_spec_a_conflict(
    api: httpx2.Client,
) -> None:
    job_id = str(uuid.uuid4())
    first = api.post("/v1/jobs", json={"prompt": "one", "job_id": job_id})
    again = api.post("/v1/jobs", json={"prompt": "one", "job_id": job_id.upper(), "width": 848})
    other = api.post("/v1/jobs", json={"prompt": "two", "job_id": job_id})
    assert first.json()["id"] == again.json()["id"] == job_id
    assert (other.status_code, other.json()["code"]) == (409, "job_conflict")
    assert "one" not in other.text


def test_tenants_cannot_see_list_cancel_or_take_over_each_others_jobs(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "mine"}).json()["id"]
    with edge.client(add_key(edge, "other")) as other:
        for method, path in (
            ("GET", ""), ("GET", "/video"), ("GET", "/timeline"), ("POST", "/cancel")
        ):  # fmt: skip
            answer = other.request(method, f"/v1/jobs/{job_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert other.get("/v1/jobs").json()["data"] == []
        taken = other.post("/v1/jobs", json={"prompt": "mine", "job_id": job_id})
        assert taken.status_code == 409
        same_key = {"Idempotency-Key": "shared"}
        theirs = other.post("/v1/jobs", json={"prompt": "k"}, headers=same_key).json()
        mine = api.post("/v1/jobs", json={"prompt": "k"}, headers=same_key).json()
        assert theirs["id"] != mine["id"]
        # Drawn, not made from what others could know: their id could be asked about, or taken.
        assert uuid.UUID(mine["id"]).version == 4
        assert theirs["tenant_id"] == "other"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic eDp5", "x" * 2000])
def test_without_a_valid_key_every_call_is_refused(edge: EdgeStack, authorization: str) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{edge.port}") as anonymous:
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/webhooks")):
            answer = anonymous.request(method, path, headers={"authorization": authorization})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert "www-authenticate" in answer.headers


def test_a_revoked_key_is_refused_and_a_viewers_key_only_reads(
    edge: EdgeStack,
) -> None:
    with edge.client(add_key(edge, "default", revoke=True)) as revoked:
        assert revoked.get("/v1/jobs").status_code == 401
    with edge.client(add_key(edge, "default", "viewer")) as viewer:
        assert viewer.get("/v1/jobs").status_code == 200
        assert viewer.post("/v1/jobs", json={"prompt": "x"}).status_code == 403
    with httpx2.Client(base_url=f"http://127.0.0.1:{edge.port}") as plain:
        key = {"X-API-Key": add_key(edge, "default", "viewer")}
        assert plain.get("/v1/jobs", headers=key).status_code == 200


def test_too_many_unconfirmed_jobs_answer_503_before_anything_is_stored(
    bare_edge: EdgeStack,
) -> None:
    _, api = bare_edge.api({"TTV_MAX_UNCONFIRMED": "3"})
    answers = [api.post("/v1/jobs", json={"prompt": f"n{n}"}) for n in range(6)]
    assert [a.status_code for a in answers] == [202] * 3 + [503] * 3
    assert answers[-1].json()["code"] == "overloaded"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len(bare_edge.sql("SELECT 1 FROM jobs")) == 3


def test_a_committed_job_is_accepted_in_bounded_time_while_kafka_is_away(
    bare_edge: EdgeStack,
) -> None:
    dead = bare_edge.start_api_without_kafka()
    answers = [dead.post("/v1/jobs", json={"prompt": f"n{n}"}) for n in range(5)]
    assert {a.status_code for a in answers} == {202}
    assert max(a.elapsed.total_seconds() for a in answers) < 5
    # After the first failure nobody waits: the relay has the record.
    assert sorted(a.elapsed.total_seconds() for a in answers)[2] < 1
    ready = dead.get("/readyz")
    assert ready.status_code == 503
    assert [e["field"] for e in ready.json()["errors"]] == ["kafka"]
    assert dead.get("/healthz").status_code == 200


def test_two_replicas_read_each_others_writes(edge: EdgeStack, api: httpx2.Client) -> None:
    process, second = edge.api()
    try:
        for n in range(10):
            one, two = (api, second) if n % 2 else (second, api)
            job = one.post("/v1/jobs", json={"prompt": f"replica {n}"}).json()
            assert two.get(f"/v1/jobs/{job['id']}").json() | {"queue": None} == job
    finally:
        process.stop()
