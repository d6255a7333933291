from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.cloudevents import HEADERS, Attributes, of_event, of_request
from schemas.events import job_event
from schemas.job import spec_digest, spec_of
from schemas.records import Job, JobEvent, JobRequested
from schemas.states import STATUS_OF_KIND

JOB_ID = "0b6f7a52-3f0e-4d4e-9a63-8b7a3f6f2a10"
CANARY = "a-canary-prompt"
REQUEST = JobRequested(job_id=JOB_ID, tenant_id="acme", prompt=CANARY, negative_prompt=CANARY)
AT = datetime(2026, 11, 25, 12, 0, 0, 120_000, tzinfo=UTC)
#: Attributes that CloudEvents 1.0 demands of every event.
REQUIRED = {"ce_id", "ce_source", "ce_specversion", "ce_type"}


def an_event(kind: str = "Completed", at: datetime = AT, attempt: int = 1) -> JobEvent:
    job = Job(
        job_id=JOB_ID,
        tenant_id="acme",
        pool="mochi-1",
        priority="normal",
        spec=spec_of(REQUEST, JOB_ID),
        spec_digest=spec_digest(REQUEST),
        submitted_at=AT,
        metadata={"title": CANARY},
    )
    return job_event(kind, job, at, attempt)


def as_dict(headers: Attributes) -> dict[str, str]:
    assert len(dict(headers)) == len(headers), "a name may not repeat"
    return {name: value.decode() for name, value in headers}


def test_an_event_says_what_it_is_in_its_headers() -> None:
    assert as_dict(of_event(an_event())) == {
        "ce_specversion": "1.0",
        "ce_id": an_event().event_id,
        "ce_source": "urn:ttv:pool:mochi-1",
        "ce_type": "ttv.job.completed",
        "ce_time": "2026-11-25T12:00:00.120Z",
        "ce_subject": JOB_ID,
        "content-type": "application/avro",
    }


@pytest.mark.parametrize("kind", STATUS_OF_KIND)
def test_every_kind_has_what_cloudevents_demands_and_nothing_undeclared(kind: str) -> None:
    found = as_dict(of_event(an_event(kind)))
    assert found.keys() >= REQUIRED
    assert found.keys() <= HEADERS.keys()
    assert all(found.values())


def test_an_event_that_is_made_again_is_known_by_its_source_and_id() -> None:
    first, again = (as_dict(of_event(an_event(at=AT + timedelta(seconds=n)))) for n in (0, 5))
    assert (first["ce_source"], first["ce_id"]) == (again["ce_source"], again["ce_id"])
    other = as_dict(of_event(an_event("Started")))
    assert other["ce_id"] != first["ce_id"]


def test_times_are_told_in_utc() -> None:
    east = AT.astimezone(timezone(timedelta(hours=9)))
    assert of_event(an_event(at=east)) == of_event(an_event())


def test_a_request_is_the_same_event_however_often_it_is_sent() -> None:
    found = as_dict(of_request(REQUEST))
    assert found == as_dict(of_request(REQUEST.model_copy()))
    assert found.keys() >= REQUIRED
    assert found.keys() <= HEADERS.keys()
    assert found["ce_id"] not in {an_event(kind).event_id for kind in STATUS_OF_KIND}


def test_a_request_without_an_id_is_no_event_yet() -> None:
    assert of_request(REQUEST.model_copy(update={"job_id": None})) == []


def test_no_header_holds_a_prompt() -> None:
    headers = of_event(an_event()) + of_request(REQUEST)
    assert not [name for name, value in headers if CANARY.encode() in value]
