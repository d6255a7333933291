from datetime import timedelta

import pytest

from schemas.errors import RecordTooLarge, UnknownSchema, Unreadable, WrongRecordType
from schemas.job import spec_digest
from schemas.records import CancelRequested, DeadLetter, Job, Refusal
from streams.admission.decide import Effect, Fact, Forward, Letter, partition_of, unreadable
from streams.admission.origin import Origin, derived_job_id, origin_of
from tests.unit.streams.requests import (
    JOB_ID,
    MOMENT,
    NOW,
    NOW_MS,
    PARTITIONS,
    TENANT,
    TOPIC,
    a_record,
    a_request,
    admission,
)


def refusal_of(effects: list[Effect]) -> Refusal:
    (fact,) = [effect.fact for effect in effects if isinstance(effect, Fact)]
    assert fact.kind == "Refused"
    assert fact.refused is not None
    return fact.refused


def letter_of(effects: list[Effect]) -> DeadLetter:
    (letter,) = [effect.letter for effect in effects if isinstance(effect, Letter)]
    return letter


def admitted(effects: list[Effect]) -> Job:
    (effect,) = effects
    assert isinstance(effect, Fact)
    assert effect.fact.admitted is not None
    return effect.fact.admitted


def test_a_valid_request_is_admitted_with_every_default_filled_in() -> None:
    request = a_request(metadata={"shot": "1"}, webhook_url="https://example.org/hook")
    job = admitted(admission().request(a_record(), request, MOMENT))
    assert job.tenant_id == TENANT
    assert (job.spec.width, job.spec.height, job.spec.num_frames) == (848, 480, 163)
    assert job.spec_digest == spec_digest(request)
    assert (job.pool, job.priority) == ("mochi-1", "normal")
    assert job.submitted_at == NOW
    assert job.traceparent == MOMENT.traceparent
    assert job.metadata == {"shot": "1"}
    assert job.webhook_url == "https://example.org/hook"


def test_a_given_job_id_is_kept_in_its_canonical_form() -> None:
    request = a_request(job_id=JOB_ID.upper())
    assert admitted(admission().request(a_record(), request, MOMENT)).job_id == JOB_ID


def test_a_request_without_an_id_gets_the_same_one_however_often_it_is_read() -> None:
    first = admitted(admission().request(a_record(), a_request(), MOMENT))
    again = admitted(admission().request(a_record(), a_request(), MOMENT))
    other = admitted(admission().request(a_record(offset=42), a_request(), MOMENT))
    assert first == again
    assert other.job_id != first.job_id


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("num_frames", 8, "invalid_num_frames"),
        ("num_inference_steps", -3, "invalid_num_inference_steps"),
        ("width", 100_000, "invalid_width"),
        ("height", 3, "invalid_height"),
        ("prompt", " ", "prompt_empty"),
        ("prompt", "x" * 1024 * 1024, "prompt_too_long"),
        ("guidance_scale", float("nan"), "invalid_guidance_scale"),
        ("seed", -1, "invalid_seed"),
        ("expires_at", NOW - timedelta(seconds=1), "already_expired"),
        ("webhook_url", "file:///etc/passwd", "invalid_webhook_url"),
        ("metadata", {"k" * 600: "v"}, "invalid_metadata"),
    ],
)
def test_a_broken_rule_is_refused_with_its_code_and_kept_as_a_letter(
    field: str, value: object, code: str
) -> None:
    record = a_record()
    effects = admission().request(record, a_request(**{field: value}), MOMENT)
    refusal, letter = refusal_of(effects), letter_of(effects)
    assert refusal.reason.code == "invalid_request"
    assert f"{field}: {code}" in refusal.reason.message
    assert len(refusal.reason.message) <= 500
    assert (refusal.tenant_id, refusal.job_id) == (TENANT, letter.job_id)
    assert (letter.code, letter.error_class) == ("invalid_request", "permanent")
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, record.partition, 41)
    assert (letter.key, letter.value) == (b"acme", b"the bytes")
    assert letter.headers == {"traceparent": b"kept"}


def test_what_made_a_request_invalid_does_not_travel_on() -> None:
    request = a_request(webhook_url="http://u:p@x/", metadata={"k": "v" * 100_000})
    refusal = refusal_of(admission().request(a_record(), request, MOMENT))
    assert refusal.webhook_url is None
    assert refusal.metadata == {}


def test_a_refused_request_still_tells_its_owners_webhook() -> None:
    request = a_request(seed=-1, webhook_url="https://example.org/hook", metadata={"a": "b"})
    refusal = refusal_of(admission().request(a_record(), request, MOMENT))
    assert refusal.webhook_url == "https://example.org/hook"
    assert refusal.metadata == {"a": "b"}


@pytest.mark.parametrize(
    "fields", [{"tenant_id": "../etc"}, {"tenant_id": ""}, {"job_id": "not-a-uuid"}]
)
def test_where_no_event_can_be_keyed_there_is_a_letter_alone(fields: dict[str, object]) -> None:
    effects = admission().request(a_record(partition=0), a_request(**fields), MOMENT)
    letter = letter_of(effects)
    assert len(effects) == 1
    assert letter.code == "invalid_request"
    assert letter.job_id is None
    assert letter.tenant_id == (TENANT if "job_id" in fields else None)


@pytest.mark.parametrize("pool", ["wan-2", "", "../x", "p" * 100_000])
def test_a_pool_without_an_inbox_makes_a_letter_alone(pool: str) -> None:
    effects = admission().request(a_record(), a_request(pool=pool, seed=-1), MOMENT)
    assert len(effects) == 1
    assert letter_of(effects).code == "unknown_pool"


def test_a_request_older_than_the_dedupe_window_is_refused() -> None:
    old = NOW_MS - 7 * 86_400_000
    admitted(admission().request(a_record(timestamp_ms=old), a_request(), MOMENT))
    effects = admission().request(a_record(timestamp_ms=old - 1), a_request(), MOMENT)
    assert refusal_of(effects).reason.code == "too_old"
    assert letter_of(effects).code == "too_old"


def test_age_is_judged_before_a_request_is_moved_into_a_younger_record() -> None:
    wrong = (a_record().partition + 1) % PARTITIONS
    record = a_record(partition=wrong, timestamp_ms=NOW_MS - 8 * 86_400_000)
    assert refusal_of(admission().request(record, a_request(), MOMENT)).reason.code == "too_old"


def test_over_the_rate_is_refused_and_may_be_sent_again_under_a_fresh_id() -> None:
    core = admission(burst=2)
    for offset in range(2):
        admitted(core.request(a_record(offset=offset), a_request(), MOMENT))
    effects = core.request(a_record(offset=2), a_request(), MOMENT)
    assert refusal_of(effects).reason.code == "rate_limited"
    assert "fresh job_id" in refusal_of(effects).reason.message
    assert letter_of(effects).error_class == "retryable"


def test_a_refused_request_does_not_count_against_the_rate() -> None:
    core = admission(burst=1)
    for offset in range(5):
        refusal_of(core.request(a_record(offset=offset), a_request(seed=-1), MOMENT))
    admitted(core.request(a_record(offset=9), a_request(), MOMENT))


def test_a_misplaced_request_is_moved_once_and_keeps_its_id() -> None:
    core = admission(burst=1)
    wrong = (a_record().partition + 1) % PARTITIONS
    record = a_record(partition=wrong, offset=7, key=b"whatever", headers=[("traceparent", b"t")])
    (moved,) = core.request(record, a_request(), MOMENT)
    assert isinstance(moved, Forward)
    assert moved.partition == partition_of(TENANT, PARTITIONS)
    assert moved.key == TENANT.encode()
    assert ("traceparent", b"t") in moved.headers
    arrived = a_record(partition=moved.partition, offset=900, headers=list(moved.headers))
    job = admitted(core.request(arrived, a_request(), MOMENT))
    assert job.job_id == derived_job_id(TENANT, Origin(TOPIC, wrong, 7))


def test_a_moved_request_is_not_moved_again_though_partitions_were_added() -> None:
    wrong = (a_record().partition + 1) % PARTITIONS
    record = a_record(partition=wrong, headers=[("ttv-forwarded", b"1")])
    admitted(admission().request(record, a_request(), MOMENT))


def test_an_invalid_tenant_is_not_moved_anywhere() -> None:
    effects = admission().request(a_record(partition=1), a_request(tenant_id="a/b"), MOMENT)
    assert not [effect for effect in effects if isinstance(effect, Forward)]


def test_a_forged_origin_cannot_name_another_tenants_job() -> None:
    theirs = derived_job_id("victim", Origin(TOPIC, 3, 12))
    headers = [("ttv-forwarded", b"1"), ("ttv-origin", f"{TOPIC}/3/12".encode())]
    job = admitted(admission().request(a_record(headers=headers), a_request(), MOMENT))
    assert job.job_id != theirs


@pytest.mark.parametrize(
    "headers",
    [
        [("ttv-origin", f"{TOPIC}/3/12".encode())],
        [("ttv-forwarded", b"1"), ("ttv-origin", b"a/b/c/d")],
        [("ttv-forwarded", b"1"), ("ttv-origin", b"\xff\x00/1/2")],
        [("ttv-forwarded", b"1"), ("ttv-origin", b"t/1/" + b"9" * 4000)],
        [("ttv-forwarded", None), ("ttv-origin", None)],
    ],
)
def test_an_origin_that_is_none_counts_for_nothing(
    headers: list[tuple[str, bytes | None]],
) -> None:
    record = a_record(headers=headers)
    assert origin_of(record) == Origin(TOPIC, record.partition, 41)


def test_the_partition_of_a_tenant_is_that_of_the_java_client() -> None:
    # From org.apache.kafka.clients.producer.internals.BuiltInPartitioner over 6 and 12 partitions.
    assert [partition_of(name, 12) for name in ("21", "foobar", "a-little-bit-long-string")] == [
        (-973932308 & 0x7FFFFFFF) % 12,
        (-790332482 & 0x7FFFFFFF) % 12,
        (-985981536 & 0x7FFFFFFF) % 12,
    ]


@pytest.mark.parametrize(
    "error", [Unreadable("x"), UnknownSchema("x"), WrongRecordType("x"), RecordTooLarge("x")]
)
def test_an_unreadable_record_makes_a_letter_and_nothing_else(error: Unreadable) -> None:
    effects = unreadable(a_record(key=None, value=None), error, NOW)
    letter = letter_of(effects)
    assert len(effects) == 1
    assert (letter.code, letter.error_class) == (error.code, "permanent")
    assert (letter.key, letter.value, letter.tenant_id) == (None, None, None)


def test_a_cancel_is_passed_to_the_pool_that_has_the_job() -> None:
    wish = CancelRequested(job_id=JOB_ID.upper(), tenant_id=TENANT)
    (effect,) = admission().cancel(a_record(), wish, MOMENT)
    assert isinstance(effect, Fact)
    assert effect.pool == "mochi-1"
    assert effect.fact.cancel_requested == CancelRequested(
        job_id=JOB_ID, tenant_id=TENANT, pool="mochi-1"
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"job_id": "x"}, "invalid_request"),
        ({"tenant_id": "a b"}, "invalid_request"),
        ({"pool": "wan-2"}, "unknown_pool"),
    ],
)
def test_a_cancel_that_names_nothing_makes_a_letter(fields: dict[str, str], code: str) -> None:
    wish = CancelRequested(job_id=JOB_ID, tenant_id=TENANT).model_copy(update=fields)
    effects = admission().cancel(a_record(), wish, MOMENT)
    assert len(effects) == 1
    assert letter_of(effects).code == code


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_blocked_prompt_is_refused_for_good_and_not_quoted(field: str) -> None:
    limited = admission(burst=1)
    request = a_request(**{field: "a F0rbidden-thing, canary"})
    effects = limited.request(a_record(), request, MOMENT)
    refusal, letter = refusal_of(effects), letter_of(effects)
    assert refusal.reason.code == letter.code == "prompt_blocked"
    assert letter.error_class == "permanent"
    assert "canary" not in refusal.reason.message + letter.reason
    # It was refused before it was counted.
    admitted(limited.request(a_record(), a_request(), MOMENT))
