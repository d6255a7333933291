from datetime import UTC, datetime, timedelta

import pytest

from schemas.access import PARTS, grants, producer, topic_access
from schemas.examples import produce_job_secure
from schemas.producers import key_of, proven
from schemas.topics import Topics

TOPICS = Topics()
POOL = "mochi-1"
TENANTS = ("acme", "a.b")
ACCESS = topic_access(TOPICS, POOL, TENANTS)
GRANTS = list(grants(TOPICS, POOL, TENANTS))


def test_every_topic_says_who_may_use_it() -> None:
    declared = {topic.name for topic in TOPICS.declared((POOL,), 8, TENANTS)}
    assert ACCESS.keys() == declared


def test_every_name_is_a_part_or_a_tenants_producer() -> None:
    known = {*PARTS, *map(producer, TENANTS)}
    assert {grant.principal for grant in GRANTS} == known


@pytest.mark.parametrize("topic", [TOPICS.events, TOPICS.completed])
def test_what_happened_is_told_by_the_scheduler_and_the_slots_alone(topic: str) -> None:
    assert set(ACCESS[topic].writes) == {"scheduler", "gpu"}


def test_a_producer_writes_its_own_topics_and_may_do_nothing_else() -> None:
    for tenant in TENANTS:
        mine = [grant for grant in GRANTS if grant.principal == producer(tenant)]
        own = {TOPICS.requested(each, tenant) for each in ("high", "normal", "low")}
        assert {grant.name for grant in mine} == {*own, TOPICS.cancels(tenant)}
        assert {(grant.operation, grant.prefixed) for grant in mine} == {("WRITE", False)}


def test_no_producer_writes_a_topic_whose_tenant_is_a_mere_field() -> None:
    for topic in TOPICS.sources():
        assert not [name for name in ACCESS[topic].writes if name.startswith("producer-")]


def test_what_is_granted_by_prefix_reaches_no_topic() -> None:
    assert {grant.resource for grant in GRANTS if grant.prefixed} == {"GROUP", "TRANSACTIONAL_ID"}


def test_the_examples_signature_is_believed() -> None:
    secret = b"s" * 32
    value, topic = b"bytes", produce_job_secure.SHARED
    made = produce_job_secure.signature(key_of(secret, "acme").hex(), "acme", topic, value)
    at = datetime.now(UTC), timedelta(hours=24)
    assert proven(made, topic, value, (secret,), at) == "acme"
