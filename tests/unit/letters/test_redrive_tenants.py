"""A redrive asks for nothing on behalf of a tenant that nobody has vouched for."""

from __future__ import annotations

import pytest

from infra.letters.redrive import NOT_THEIRS, NotRedrivableError, redrive
from schemas.records import CancelRequested
from schemas.topics import Topics
from tests.unit.letters.letters import NOW, PARENT, letter, request

TOPICS = Topics("t.")
OWN = TOPICS.requested("low", "acme")


@pytest.mark.parametrize("code", sorted(NOT_THEIRS))
def test_what_was_not_its_tenants_is_not_redriven(code: str) -> None:
    with pytest.raises(NotRedrivableError, match="Nobody vouches"):
        redrive(letter(topic=OWN, code=code), request(), TOPICS, NOW)


def test_a_request_of_a_tenants_own_topic_goes_to_the_shared_one() -> None:
    made = redrive(letter(topic=OWN, code="rate_limited"), request(), TOPICS, NOW)
    assert (made.topic, made.tenant_id) == (TOPICS.requested("low"), "acme")


def test_what_could_not_be_read_goes_back_to_where_it_lay() -> None:
    unread = letter(topic=OWN, code="unknown_schema", value=b"bytes")
    made = redrive(unread, request(job_id=PARENT), TOPICS, NOW)
    assert (made.topic, made.original, made.tenant_id) == (OWN, b"bytes", "acme")


@pytest.mark.parametrize("job_id", [PARENT, None])
def test_a_request_read_only_now_must_be_of_the_tenant_whose_topic_it_lay_in(
    job_id: str | None,
) -> None:
    unread = letter(topic=OWN, code="unknown_schema", value=b"bytes")
    with pytest.raises(NotRedrivableError, match="another tenant"):
        redrive(unread, request(tenant_id="victim", job_id=job_id), TOPICS, NOW)


def test_so_must_a_wish_to_cancel() -> None:
    unread = letter(topic=TOPICS.cancels("acme"), code="unknown_schema", value=b"bytes")
    wish = CancelRequested(job_id=PARENT, tenant_id="victim")
    with pytest.raises(NotRedrivableError, match="another tenant"):
        redrive(unread, wish, TOPICS, NOW)
