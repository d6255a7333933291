"""A record's tenant is who signed it, or whose topic it lies in; on a real Kafka."""

import uuid
from datetime import UTC, datetime, timedelta

from infra.letters.desk import Desk, Outcome, Wanted
from infra.provision import make_topics, register_schemas
from schemas.producers import HEADER, key_of, token
from schemas.records import DeadLetter
from tests.integration.streams.bus import Bus, wait_for

SECRET = "a-secret-of-32-characters-or-more"
HEADERS = {"kafka_tenant": "header", "producer_secret": SECRET}
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def proof(bus: Bus, value: bytes, tenant: str = "acme") -> list[tuple[str, bytes]]:
    key = key_of(SECRET.encode(), tenant)
    expires = datetime.now(UTC) + timedelta(hours=1)
    return [(HEADER, token(key, tenant, bus.requested, value, expires))]


def signed_request(bus: Bus, prompt: str) -> bytes:
    return bus.a_request(prompt, job_id=str(uuid.uuid4()))


def test_signed_records_run_and_others_become_letters_that_are_not_redriven(bus: Bus) -> None:
    good, stolen = signed_request(bus, "signed"), signed_request(bus, "stolen header")
    unsigned, theirs = signed_request(bus, "unsigned"), signed_request(bus, "by mallory")
    bus.send(unsigned)
    bus.send(theirs, headers=proof(bus, theirs, "mallory"))
    bus.send(stolen, headers=proof(bus, good))
    bus.send(good, headers=proof(bus, good))
    moved = signed_request(bus, "misplaced")
    wrong = (bus.send(unsigned).partition + 1) % 6
    bus.send(moved, partition=wrong, headers=proof(bus, moved))
    with bus.run("streams.admission", **HEADERS):
        assert sorted(bus.prompts(2)) == ["misplaced", "signed"]
        letters: list[DeadLetter] = wait_for(
            "four letters", lambda: found if len(found := bus.letters()) == 4 else None
        )
    assert sorted(letter.code for letter in letters) == [
        "tenant_conflict",
        *["unauthenticated_producer"] * 3,
    ]
    assert {letter.tenant_id for letter in letters} == {None, "mallory"}
    desk = Desk(bus.settings.model_copy(update=HEADERS), bus.codec)
    outcomes: list[Outcome] = []
    desk.redrive(desk.find(Wanted(), SINCE, 9, 9999).letters, datetime.now(UTC), outcomes.append)
    assert [one.action for one in outcomes] == ["refused"] * 4


def test_a_tenants_topic_takes_that_tenant_alone(bus: Bus) -> None:
    topics = [t for t in bus.topics.declared(("mochi-1",), 1, ("acme",)) if "acme" in t.name]
    make_topics(bus.settings, topics)
    register_schemas(bus.settings, topics)
    own = bus.topics.requested("high", "acme")
    bus.send(bus.a_request("theirs", tenant_id="victim"), topic=own, partition=0)
    bus.send(bus.a_request("mine"), topic=own, partition=0)
    with bus.run("streams.admission", kafka_tenant="topic", producer_tenants="acme"):
        assert bus.prompts(1) == ["mine"]
    (letter,) = bus.letters()
    assert (letter.code, letter.tenant_id, letter.topic) == ("tenant_conflict", "acme", own)
    assert [job.priority for job in bus.admitted()] == ["high"]


def test_admission_does_not_start_before_someone_said_whom_to_believe(bus: Bus) -> None:
    with bus.run("streams.admission", kafka_tenant="header") as app:
        assert app.died() == 1
    assert app.says("TTV_PRODUCER_SECRET")
