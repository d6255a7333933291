"""``ttv up --secure``: jobs come through, and nobody may do what is not theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from infra.kafka import common
from infra.letters.desk import Desk, Letter, Wanted
from infra.settings import Settings
from infra.stack import Stack
from infra.stack.services import environment, login_of
from schemas.access import Access, topic_access
from schemas.codec import codec, single_object
from schemas.records import JobEvent, JobRequested
from schemas.topics import Topics
from tests.support.api import SMALL, Api
from tests.support.feeds import read_messages
from tests.support.settings import settings_from
from tests.support.wait import until

#: A stack of its own: for the nightly run.
pytestmark = [pytest.mark.stack, pytest.mark.strike]
_EXAMPLE = Path(__file__).parents[3] / "schemas" / "examples" / "produce_job_secure.py"
TOPICS = Topics()
TENANTS = ("default", "acme")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service on a Kafka that asks who is there."""
    data = tmp_path_factory.mktemp("secure") / "data"
    with Stack.start(data, gpus=1, secured=True, timeout=240) as running:
        yield running


def settings_as(stack: Stack, principal: str) -> Settings:
    """Settings of a process that is ``principal``."""
    return settings_from(environment(stack.info) | login_of(stack.info, principal))


def produced(settings: Settings, topic: str, value: bytes = b"x", **extra: Any) -> int | None:
    """The code of the error that producing one record meets."""
    found: list[KafkaError | None] = []
    quiet = {"message.timeout.ms": 8000, "log_level": 0, "retries": 0} | extra
    producer = Producer(common(settings) | quiet)
    producer.produce(topic, value, b"key", on_delivery=lambda error, _: found.append(error))
    producer.flush(15)
    (error,) = found
    return None if error is None else error.code()


def example(stack: Stack, tenant: str, principal: str) -> subprocess.CompletedProcess[str]:
    """The example, run as ``principal`` for ``tenant``."""
    login = stack.info.kafka_login
    assert login is not None
    env = {
        "KAFKA_CA": login.ca,
        "KAFKA_USERNAME": principal,
        "KAFKA_PASSWORD": login.passwords[principal],
    }
    fields = [f"{name}={value}" for name, value in SMALL.items()]
    info = stack.info
    return subprocess.run(
        [sys.executable, str(_EXAMPLE), info.kafka, info.registry, tenant, "a fox", *fields],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.timeout(240)
def test_a_job_over_http_and_one_of_the_example_producer_come_through(secured: Stack) -> None:
    sent = example(secured, "default", "producer-default")
    assert sent.returncode == 0, sent.stderr
    with Api(secured.info) as api:
        jobs = {sent.stdout.strip(), api.submit()}
        for job_id in jobs:
            api.await_status(job_id, "completed", seconds=200)
    reader = settings_as(secured, "consumer")
    told = {}
    for message in read_messages(reader, TOPICS.completed, group="consumer.tests"):
        event = codec(reader.registry).decode(JobEvent, bytes(message.value() or b""))
        headers: Any = dict(message.headers() or [])
        assert headers["ce_id"].decode() == event.event_id
        assert headers["ce_type"] == b"ttv.job.completed"
        assert b"a fox" not in b"".join(headers.values())
        told[event.job_id] = event.tenant_id
    assert told == dict.fromkeys(jobs, "default")


def test_the_example_producer_writes_its_own_topics_and_nothing_else(secured: Stack) -> None:
    access = topic_access(TOPICS, "mochi-1", TENANTS)
    mine = settings_as(secured, "producer-acme")
    allowed = {name for name, one in access.items() if "producer-acme" in one.writes}
    assert allowed == {
        *(TOPICS.requested(priority, "acme") for priority in ("high", "normal", "low")),
        TOPICS.cancels("acme"),
    }
    for topic in access.keys() - allowed:
        assert produced(mine, topic) in DENIED, topic
    sent = example(secured, "default", "producer-acme")
    assert sent.returncode != 0
    assert "authorization failed" in sent.stderr.lower()


def test_who_names_another_tenant_in_its_own_topic_gets_a_dead_letter(secured: Stack) -> None:
    forged = single_object(JobRequested(tenant_id="default", prompt="a fox"))
    mine = settings_as(secured, "producer-acme")
    assert produced(mine, TOPICS.requested("low", "acme"), forged) is None
    edge = settings_as(secured, "ingest")
    desk, found = Desk(edge, codec(edge.registry)), list[Letter]()

    def told() -> bool:
        found[:] = desk.find(Wanted(code="tenant_conflict"), SINCE, 5).letters
        return bool(found)

    until(told, 60)
    assert [one.letter.tenant_id for one in found] == ["acme"]


def test_nobody_comes_in_without_a_password_or_with_a_wrong_one(secured: Stack) -> None:
    known = settings_as(secured, "consumer")
    plain = known.model_copy(update={"kafka_security_protocol": "PLAINTEXT"})
    nameless = known.model_copy(update={"kafka_security_protocol": "SSL"})
    wrong = known.model_copy(update={"kafka_sasl_password": SecretStr("wrong")})
    for settings in (plain, nameless, wrong):
        with pytest.raises(KafkaException):
            AdminClient(common(settings) | {"log_level": 0}).list_topics(timeout=4)
    # The controller's port lets nobody in but the broker.
    ports = json.loads(secured.layout.identity.read_text())["ports"]
    controller = known.model_copy(update={"kafka": f"127.0.0.1:{ports['kafka-controller']}"})
    for settings in (wrong, controller):
        assert KafkaError._AUTHENTICATION in errors_of(settings)


def errors_of(settings: Settings) -> set[int]:
    """The codes of the errors that a client meets until it has met one."""
    found: set[int] = set()
    heard = {"log_level": 0, "error_cb": lambda error: found.add(error.code())}
    client = AdminClient(common(settings) | heard)
    until(lambda: client.poll(0.2) >= 0 and bool(found - {KafkaError._ALL_BROKERS_DOWN}), 20)
    return found


@pytest.mark.parametrize("part", ["ingest", "streams", "scheduler", "gpu", "consumer"])
def test_a_part_reads_what_it_is_granted_and_nothing_else(secured: Stack, part: str) -> None:
    access: dict[str, Access] = topic_access(TOPICS, "mochi-1", TENANTS)
    consumer = Consumer(common(settings_as(secured, part)) | {"group.id": "x", "log_level": 0})
    try:
        seen = consumer.list_topics(timeout=15).topics
    finally:
        consumer.close()
    known = {name for name in seen if name.startswith(TOPICS.prefix)}
    may = {n for n, one in access.items() if part in {*one.reads, *one.writes, *one.trims}}
    assert known == may
