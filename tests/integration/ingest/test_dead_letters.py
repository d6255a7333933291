"""Dead letters over HTTP: found, shown without prompts, redriven once, by those who may."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from infra.letters.redrive import letter_id, redriven_job_id
from schemas.codec import codec
from schemas.records import AuditEvent, DeadLetter, Job, JobRequested, PoolFact
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.reading import records
from tests.integration.ingest.test_submit import add_key
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack
PROMPT = "a fox"
TENANT = "letters-owner"


def letter_of(edge: EdgeStack, of: Job, offset: int = 41, **fields: Any) -> DeadLetter:
    """The letter that the scheduler writes of a job that failed."""
    inbox = edge.topics.inbox("mochi-1")
    value = codec(edge.settings.registry).encode(inbox, PoolFact(kind="Admitted", admitted=of))
    made: dict[str, Any] = {
        "topic": inbox,
        "partition": 0,
        "offset": offset,
        "value": value,
        "error_class": "retryable",
        "code": "bad_output",
        "reason": "The video failed its checks.",
        "attempts": 5,
        "tenant_id": of.tenant_id,
        "job_id": of.job_id,
        "occurred_at": datetime.now(UTC),
    }
    return DeadLetter(**{**made, **fields})


def write(edge: EdgeStack, log: Log, *letters: DeadLetter) -> None:
    dlq, encode = edge.topics.dlq, codec(edge.settings.registry).encode
    for one in letters:
        log.write_raw(dlq, str(one.job_id), encode(dlq, one))


@pytest.fixture(scope="module")
def failed(edge: EdgeStack, log: Log) -> Job:
    """A job that failed, in the read model, with its letter; and one told about its id alone."""
    made = job(tenant_id=TENANT, priority="high")
    log.write(happened(made, "Admitted", "Failed"))
    other = letter_of(edge, made, 42, code="job_conflict", error_class="conflict")
    write(edge, log, letter_of(edge, made), other)
    with edge.client(add_key(edge, TENANT)) as owner:
        path = f"/v1/jobs/{made.job_id}"
        until(lambda: owner.get(path).json().get("status") == "failed", 20)
    return made


@pytest.fixture(scope="module")
def operator(edge: EdgeStack) -> Iterator[httpx2.Client]:
    with edge.client(add_key(edge, "operations", "operator")) as client:
        yield client


@pytest.fixture(scope="module")
def owner(edge: EdgeStack) -> Iterator[httpx2.Client]:
    with edge.client(add_key(edge, TENANT)) as client:
        yield client


def asked_for(edge: EdgeStack, job_id: str) -> list[JobRequested]:
    found = records(edge, edge.topics.requested("high"), JobRequested)
    return [one.value for one in found if one.value.job_id == job_id]


def test_an_operator_pages_through_letters_by_filters(
    edge: EdgeStack, log: Log, operator: httpx2.Client
) -> None:
    tenant, code = f"t-{uuid.uuid4().hex[:8]}", "out_of_memory"
    letters = [letter_of(edge, job(tenant_id=tenant), n, code=code) for n in range(5)]
    write(edge, log, *letters, letters[2], letter_of(edge, job(tenant_id=tenant), 9))
    filters: dict[str, Any] = {"tenant_id": tenant, "code": code, "limit": 2}
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = operator.get(
            "/v1/dead-letters", params=filters | ({"cursor": cursor} if cursor else {})
        )
        assert page.status_code == 200, page.text
        seen += page.json()["data"]
        cursor = page.json()["next_cursor"]
    assert [one["id"] for one in seen] == [letter_id(one) for one in reversed(letters)]
    assert [one["times"] for one in seen] == [1, 1, 2, 1, 1]
    everything = operator.get("/v1/dead-letters", params={"tenant_id": tenant}).json()["data"]
    assert len(everything) == 6
    for params in (
        {"topic": "elsewhere"},
        {"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
    ):
        found = operator.get("/v1/dead-letters", params={"tenant_id": tenant} | params).json()
        assert found["data"] == [], params
    for wrong in ({"cursor": "x"}, {"since": "yesterday"}, {"since": "2026-11-25T00:00:00"}):
        answer = operator.get("/v1/dead-letters", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), wrong


def test_prompts_are_hidden_unless_an_operator_asks(
    edge: EdgeStack, failed: Job, operator: httpx2.Client, owner: httpx2.Client
) -> None:
    path = f"/v1/dead-letters/{letter_id(letter_of(edge, failed))}"
    shown = operator.get(path)
    assert shown.status_code == 200, shown.text
    assert PROMPT not in shown.text
    assert shown.json()["holds"]["width"] == failed.spec.width
    assert shown.json()["redrive"]["possible"] is True
    assert operator.get(path, params={"prompt": "true"}).json()["holds"]["prompt"] == PROMPT
    mine = owner.get(f"/v1/jobs/{failed.job_id}/dead-letter", params={"prompt": "true"})
    assert mine.json()["id"] == shown.json()["id"]
    assert PROMPT not in mine.text


def test_a_letter_redriven_by_its_owner_and_an_operator_at_once_is_one_job(
    edge: EdgeStack, log: Log, failed: Job, operator: httpx2.Client, owner: httpx2.Client
) -> None:
    name = letter_id(letter_of(edge, failed))
    new = redriven_job_id(name)
    calls = [
        (owner, f"/v1/jobs/{failed.job_id}/dead-letter/redrive"),
        (operator, f"/v1/dead-letters/{name}/redrive"),
    ]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda call: call[0].post(call[1]), calls * 2))
    assert [answer.status_code for answer in answers] == [202] * 4, [a.text for a in answers]
    assert {answer.json()["job_id"] for answer in answers} == {new}
    requests = asked_for(edge, new)
    assert len(requests) == 4
    assert all(one == requests[0] for one in requests), "the fold drops what is the same"
    assert (requests[0].parent_job_id, requests[0].tenant_id) == (failed.job_id, TENANT)

    log.write(happened(job(new, TENANT), "Admitted", "Completed"))
    again = operator.post(calls[1][1]).json()
    assert (again["action"], again["job_id"]) == ("ended", new)
    assert len(asked_for(edge, new)) == 4

    def told() -> list[AuditEvent]:
        events = [one.value for one in records(edge, edge.topics.audit, AuditEvent)]
        return [e for e in events if e.kind == "letter.redriven" and e.subject == name]

    until(lambda: len(told()) == 5, 20)
    assert {event.tenant_id for event in told()} == {TENANT}
    assert {event.details["new_job_id"] for event in told()} == {new}
    assert len({event.actor for event in told()}) == 2


def test_what_cannot_be_redriven_says_why_and_asks_for_nothing(
    edge: EdgeStack, log: Log, operator: httpx2.Client
) -> None:
    of = job(tenant_id=TENANT, priority="high")
    refused = letter_of(edge, of, code="tenant_conflict", error_class="conflict")
    write(edge, log, refused)
    name = letter_id(refused)
    answer = operator.post(f"/v1/dead-letters/{name}/redrive")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_redrivable")
    assert "vouches" in answer.json()["detail"]
    assert asked_for(edge, redriven_job_id(name)) == []


def test_letters_that_are_not_there_and_jobs_that_are_not_ones_own_look_alike(
    edge: EdgeStack, failed: Job, operator: httpx2.Client
) -> None:
    with edge.client(add_key(edge, "stranger")) as stranger:
        answers = [
            stranger.get(f"/v1/jobs/{failed.job_id}/dead-letter"),
            stranger.post(f"/v1/jobs/{failed.job_id}/dead-letter/redrive"),
            stranger.get(f"/v1/jobs/{uuid.uuid4()}/dead-letter"),
        ]
    assert {(one.status_code, one.json()["detail"]) for one in answers} == {
        (404, "Check the id and the path.")
    }
    for name in (str(uuid.uuid4()), "none", "%00"):
        assert operator.get(f"/v1/dead-letters/{name}").status_code == 404


def test_a_job_that_has_not_failed_has_no_letter(
    edge: EdgeStack, log: Log, owner: httpx2.Client
) -> None:
    done = job(tenant_id=TENANT)
    log.write(happened(done, "Admitted", "Completed"))
    write(edge, log, letter_of(edge, done, 77))
    path = f"/v1/jobs/{done.job_id}"
    until(lambda: owner.get(path).json().get("status") == "completed", 20)
    assert owner.get(f"{path}/dead-letter").status_code == 404
