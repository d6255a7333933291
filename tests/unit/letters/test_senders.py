"""A record that could not be read has convinced nobody yet of who sent it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr

from infra.letters.desk import Desk
from infra.letters.log import LettersError
from infra.letters.redrive import NotRedrivableError
from infra.settings import Settings
from schemas.codec import codec, single_object
from schemas.producers import HEADER, key_of, token
from schemas.records import DeadLetter, JobRequested
from tests.unit.letters.letters import NOW, PARENT, letter

SECRET = "s" * 32
TOPIC = "ttv.jobs.requested.normal"
LONG_AGO = NOW - timedelta(days=9)


def desk(secret: str | None = SECRET) -> Desk:
    config = Settings(producer_secret=None if secret is None else SecretStr(secret))
    return Desk(config, codec("http://127.0.0.1:1"))


def unread(signer: str | None, tenant: str = "acme", job_id: str | None = PARENT) -> DeadLetter:
    """A letter about a record of ``tenant`` that ``signer`` signed, long ago."""
    value = single_object(JobRequested(tenant_id=tenant, prompt="a fox", job_id=job_id))
    headers = {}
    if signer is not None:
        key = key_of(SECRET.encode(), signer)
        headers = {HEADER: token(key, signer, TOPIC, value, LONG_AGO)}
    return letter(topic=TOPIC, code="unknown_schema", value=value, headers=headers)


def test_one_that_its_tenant_signed_is_redriven_even_after_its_header_expired() -> None:
    made = desk().plan(unread("acme"), NOW)
    assert (made.tenant_id, made.job_id) == ("acme", PARENT)


@pytest.mark.parametrize("job_id", [PARENT, None])
@pytest.mark.parametrize("signer", [None, "mallory"])
def test_one_that_somebody_else_or_nobody_signed_is_not(
    signer: str | None, job_id: str | None
) -> None:
    with pytest.raises(NotRedrivableError, match=r"who sent it|another tenant"):
        desk().plan(unread(signer, job_id=job_id), NOW)


def test_without_the_secret_nobody_can_tell() -> None:
    with pytest.raises(LettersError, match="TTV_PRODUCER_SECRET"):
        desk(None).plan(unread("acme"), NOW)
