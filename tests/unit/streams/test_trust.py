from datetime import timedelta

import pytest
from pydantic import SecretStr

from infra.producers import ProducerSettingsError, Signer, secrets_of, tenants_of
from infra.settings import Settings
from schemas.producers import HEADER, key_of, token
from schemas.records import CancelRequested, DeadLetter, JobRequested
from schemas.topics import Topics
from streams.admission.app import trust_of
from streams.admission.decide import Fact, Forward, Letter
from streams.admission.trust import TrustsHeader, TrustsTopic
from streams.incoming import Incoming
from tests.unit.streams.requests import JOB_ID, MOMENT, NOW, a_record, a_request, admission

SECRET = b"s" * 32
BY_TOPIC = TrustsTopic(Topics())
BY_HEADER = TrustsHeader([SECRET], timedelta(days=7))
OWN = Topics().requested("normal", "acme")


def signed(tenant: str = "acme", **fields: object) -> Incoming:
    """A record that ``tenant`` has signed."""
    record = a_record(**fields)
    key = key_of(SECRET, tenant)
    proof = token(key, tenant, record.topic, record.value, NOW + timedelta(hours=1))
    return a_record(**{**fields, "headers": [(HEADER, proof)]})


def with_secret(secret: str | None) -> Settings:
    """The default settings but for the secret."""
    return Settings(producer_secret=None if secret is None else SecretStr(secret))


def the_letter(effects: list[object]) -> DeadLetter:
    (effect,) = effects
    assert isinstance(effect, Letter), "no fact may come of it"
    return effect.letter


def judged(record: Incoming, request: JobRequested, trust: object) -> list[object]:
    return [*admission(trust=trust).request(record, request, MOMENT)]  # type: ignore[arg-type]


def test_a_tenants_own_topic_takes_its_own_records() -> None:
    (fact,) = judged(a_record(topic=OWN), a_request(), BY_TOPIC)
    assert isinstance(fact, Fact)
    assert fact.fact.admitted is not None
    assert fact.fact.admitted.tenant_id == "acme"


def test_a_record_of_another_tenant_in_ones_own_topic_is_a_conflict_and_nothing_else() -> None:
    request = a_request(tenant_id="victim", job_id=JOB_ID)
    letter = the_letter(judged(a_record(topic=OWN), request, BY_TOPIC))
    assert (letter.code, letter.error_class) == ("tenant_conflict", "conflict")
    # The victim must not be shown it, nor find it under its job.
    assert (letter.tenant_id, letter.job_id) == ("acme", None)


def test_the_shared_topics_are_the_edges() -> None:
    (fact,) = judged(a_record(), a_request(), BY_TOPIC)
    assert isinstance(fact, Fact)


def test_a_signed_record_is_admitted() -> None:
    (fact,) = judged(signed(), a_request(job_id=JOB_ID), BY_HEADER)
    assert isinstance(fact, Fact)


def test_what_this_service_signs_is_believed() -> None:
    config = with_secret(SECRET.decode())
    record = a_record()
    proof = Signer(config, lambda: NOW).headers("acme", record.topic, record.value)
    (fact,) = judged(a_record(headers=proof), a_request(job_id=JOB_ID), trust_of(config))
    assert isinstance(fact, Fact)


def test_an_unsigned_record_makes_a_letter_that_names_nobody() -> None:
    letter = the_letter(judged(a_record(), a_request(job_id=JOB_ID), BY_HEADER))
    assert letter.code == "unauthenticated_producer"
    assert (letter.tenant_id, letter.job_id) == (None, None)


def test_a_record_signed_by_another_tenant_is_a_conflict() -> None:
    letter = the_letter(judged(signed("mallory"), a_request(job_id=JOB_ID), BY_HEADER))
    assert (letter.code, letter.tenant_id, letter.job_id) == ("tenant_conflict", "mallory", None)


def test_another_tenants_header_is_useless_on_ones_own_record() -> None:
    (name, proof), *_ = signed(value=b"what acme sent").headers
    stolen = a_record(value=b"what mallory sends", headers=[(name, proof)])
    letter = the_letter(judged(stolen, a_request(job_id=JOB_ID), BY_HEADER))
    assert letter.code == "unauthenticated_producer"


def test_a_signed_request_names_its_job_so_that_a_replay_is_the_same_job() -> None:
    letter = the_letter(judged(signed(), a_request(), BY_HEADER))
    assert letter.code == "invalid_request"
    assert "job_id: required" in letter.reason
    first, again = (judged(signed(offset=n), a_request(job_id=JOB_ID), BY_HEADER) for n in (1, 2))
    assert first == again


def test_no_header_outlives_what_the_scheduler_remembers() -> None:
    short = TrustsHeader([SECRET], timedelta(minutes=10))
    letter = the_letter(judged(signed(), a_request(job_id=JOB_ID), short))
    assert letter.code == "unauthenticated_producer"
    assert "600 s at most" in letter.reason


@pytest.mark.parametrize("trust", [BY_TOPIC, BY_HEADER])
def test_a_wish_to_cancel_is_judged_as_a_request_is(trust: TrustsTopic | TrustsHeader) -> None:
    own = Topics().cancels("acme")
    theirs = CancelRequested(job_id=JOB_ID, tenant_id="victim")
    record = signed(topic=own)
    letter = the_letter([*admission(trust=trust).cancel(record, theirs, MOMENT)])
    assert letter.code == "tenant_conflict"
    mine = CancelRequested(job_id=JOB_ID, tenant_id="acme")
    (fact,) = admission(trust=trust).cancel(record, mine, MOMENT)
    assert isinstance(fact, Fact)


def test_a_moved_record_is_believed_where_it_arrives_even_after_its_header_expired() -> None:
    misplaced = signed(partition=(a_record().partition + 1) % 6)
    (moved,) = judged(misplaced, a_request(job_id=JOB_ID), BY_HEADER)
    assert isinstance(moved, Forward)
    later = a_record().timestamp_ms + 1800_000
    arrived = a_record(headers=list(moved.headers), timestamp_ms=later)
    (fact,) = judged(arrived, a_request(job_id=JOB_ID), BY_HEADER)
    assert isinstance(fact, Fact)
    assert [name for name, _ in moved.headers].count(HEADER) == 1


@pytest.mark.parametrize("secret", [None, "", "short", f"{'s' * 32},short"])
def test_without_a_secret_the_default_believes_nobody_and_says_so(secret: str | None) -> None:
    config = with_secret(secret)
    assert config.kafka_tenant == "header"
    with pytest.raises(ProducerSettingsError, match="TTV_PRODUCER_SECRET"):
        trust_of(config)
    with pytest.raises(ProducerSettingsError, match="TTV_PRODUCER_SECRET"):
        Signer(config)


def test_tenants_with_topics_are_named_or_refused() -> None:
    named = Settings(kafka_tenant="topic", producer_tenants="acme, b.c")
    assert tenants_of(named) == ("acme", "b.c")
    assert tenants_of(named.model_copy(update={"kafka_tenant": "field"})) == ()
    with pytest.raises(ProducerSettingsError, match="TTV_PRODUCER_TENANTS"):
        tenants_of(Settings(kafka_tenant="topic", producer_tenants="acme,../x"))


def test_both_secrets_of_a_rotation_are_believed() -> None:
    config = with_secret(f"{'n' * 32}, {'s' * 32}")
    assert secrets_of(config) == (b"n" * 32, SECRET)
