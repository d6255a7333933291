"""Whatever lies in the log, each record gets its own clear end and those behind it still flow."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from schemas.codec import single_object
from schemas.records import CancelRequested, JobRequested, Tenant
from streams.admission.decide import partition_of
from streams.admission.origin import Origin, derived_job_id
from tests.integration.streams.bus import PARTITIONS, Bus, free_port, wait_for

JOB_ID = "0b6f7a52-3f0e-4d4e-9a63-8b7a3f6f2a10"
ADMISSION = "streams.admission"


def test_unusable_bytes_become_letters_and_the_records_behind_them_run(bus: Bus) -> None:
    good = bus.a_request("before")
    bad: dict[bytes | None, str] = {
        b"garbage": "unreadable_record",
        b"": "unreadable_record",
        None: "unreadable_record",
        good[: len(good) // 2]: "unreadable_record",
        good + b"\x00": "unreadable_record",
        b"\x00\x7f\xff\xff\xff" + good[5:]: "unknown_schema",
        b"\xc3\x01" + b"\x11" * 8 + good[5:]: "unknown_schema",
        single_object(Tenant(tenant_id="acme")): "wrong_record_type",
        bus.codec.encode(
            bus.topics.control, CancelRequested(job_id=JOB_ID, tenant_id="acme")
        ): "wrong_record_type",
    }
    bus.send(good)
    places = [bus.send(value, headers=[("k", b"v")]) for value in bad]
    bus.send(single_object(JobRequested(tenant_id="acme", prompt="behind")))
    port = free_port()
    with bus.run(ADMISSION):
        assert bus.prompts(2) == ["before", "behind"]
    letters = bus.letters()
    assert {letter.value: letter.code for letter in letters} == bad
    assert sorted((letter.partition, letter.offset) for letter in letters) == [
        (place.partition, place.offset) for place in places
    ]
    assert {letter.topic for letter in letters} == {bus.requested}
    assert all(letter.key == b"acme" and letter.headers == {"k": b"v"} for letter in letters)
    with bus.run("streams.dead_letters", metrics_port=str(port)) as app:
        wait_for("letters counted", lambda: counted(port) == len(bad))
        assert not app.says("garbage")


def counted(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return 0
    wanted = [line for line in lines if line.startswith("ttv_dead_letters_total{")]
    assert all('source="requested"' in line for line in wanted)
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in wanted))


def test_broken_rules_are_refused_with_their_codes_and_the_jobs_behind_run(bus: Bus) -> None:
    broken: dict[str, dict[str, Any]] = {
        "prompt_too_long": {"prompt": "x" * 1024 * 1024},
        "invalid_num_frames": {"num_frames": 8},
        "invalid_num_inference_steps": {"num_inference_steps": -4},
        "invalid_width": {"width": 100_000, "height": 3},
        "invalid_guidance_scale": {"guidance_scale": float("inf")},
    }
    for fields in broken.values():
        bus.send(bus.a_request(**fields))
    bus.send(bus.a_request("behind"))
    with bus.run(ADMISSION) as app:
        assert bus.prompts(1) == ["behind"]
        log = app.log.read_text()
    refusals = [fact.refused for fact in bus.facts() if fact.refused is not None]
    assert len(refusals) == len(broken)
    for code, refusal in zip(broken, refusals, strict=True):
        assert refusal.reason.code == "invalid_request"
        assert code in refusal.reason.message
        assert refusal.tenant_id == "acme"
    letters = bus.letters()
    assert {letter.job_id for letter in letters} == {refusal.job_id for refusal in refusals}
    assert all(letter.code == "invalid_request" for letter in letters)
    assert "xxxxxxxx" not in log, "no prompt is logged"


def test_what_names_no_owner_or_pool_is_a_letter_alone(bus: Bus) -> None:
    bus.send(bus.a_request(tenant_id="../../etc"))
    bus.send(bus.a_request(job_id="7"))
    bus.send(bus.a_request(pool="wan-2"))
    bus.send(bus.a_request("behind"))
    with bus.run(ADMISSION):
        bus.prompts(1)
    assert len(bus.facts()) == 1
    assert [letter.code for letter in bus.letters()] == [
        "invalid_request",
        "invalid_request",
        "unknown_pool",
    ]


def test_a_duplicate_id_passes_to_the_fold_with_what_it_needs_to_tell(bus: Bus) -> None:
    for prompt in ("one", "one", "two"):
        bus.send(bus.a_request(prompt, job_id=JOB_ID))
    with bus.run(ADMISSION):
        wait_for("three facts", lambda: len(bus.admitted()) == 3)
    first, repeat, other = bus.admitted()
    assert first.job_id == repeat.job_id == other.job_id == JOB_ID
    assert first.spec_digest == repeat.spec_digest != other.spec_digest


def test_the_rate_limit_refuses_a_burst_of_one_tenant_alone(bus: Bus) -> None:
    for number in range(5):
        bus.send(bus.a_request(f"{number}"))
    bus.send(bus.a_request("calm", tenant_id="calm"), tenant="calm")
    with bus.run(ADMISSION, tenant_burst="3", tenant_rate="0.001"):
        assert set(bus.prompts(4)) == {"0", "1", "2", "calm"}
        wait_for("two letters", lambda: len(bus.letters()) == 2)
    assert [letter.code for letter in bus.letters()] == ["rate_limited"] * 2
    refused = [fact.refused for fact in bus.facts() if fact.refused is not None]
    assert {refusal.tenant_id for refusal in refused} == {"acme"}


def test_a_request_in_another_partition_is_moved_once_and_keeps_its_id(bus: Bus) -> None:
    right = partition_of("acme", PARTITIONS)
    wrong = (right + 1) % PARTITIONS
    headers = [("ttv-origin", b"other/0/0"), ("mine", b"kept")]
    place = bus.send(bus.a_request("misplaced"), partition=wrong, headers=headers)
    with bus.run(ADMISSION):
        bus.prompts(1)
        bus.send(bus.a_request("later"))
        bus.prompts(2)
    (moved,) = [
        one
        for one in bus.messages(bus.requested)
        if one.partition() == right and ("ttv-forwarded", b"1") in (one.headers() or [])
    ]
    assert ("mine", b"kept") in (moved.headers() or [])
    assert moved.key() == b"acme"
    job = bus.admitted()[0]
    assert job.job_id == derived_job_id("acme", Origin(bus.requested, wrong, place.offset))
    assert len(bus.messages(bus.requested)) == 3


def test_a_cancel_from_the_control_topic_reaches_the_pool(bus: Bus) -> None:
    wish = CancelRequested(job_id=JOB_ID, tenant_id="acme")
    bus.send(bus.codec.encode(bus.topics.control, wish), topic=bus.topics.control, partition=0)
    lost = CancelRequested(job_id="x", tenant_id="acme")
    bus.send(bus.codec.encode(bus.topics.control, lost), topic=bus.topics.control, partition=0)
    with bus.run(ADMISSION):
        facts = wait_for("the cancel", bus.facts)
        wait_for("the letter", bus.letters)
    assert [fact.kind for fact in facts] == ["CancelRequested"]
    assert facts[0].cancel_requested == wish.model_copy(update={"pool": "mochi-1"})
    assert bus.letters()[0].topic == bus.topics.control


def test_a_header_name_that_is_no_text_does_not_stop_the_log(bus: Bus) -> None:
    subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("odd_header.py")),
            bus.settings.kafka,
            bus.requested,
            str(partition_of("acme", PARTITIONS)),
        ],
        env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},
        check=True,
        timeout=30,
    )
    bus.send(bus.a_request("behind"))
    with bus.run(ADMISSION):
        assert bus.prompts(1) == ["behind"]
    (letter,) = bus.letters()
    assert letter.code == "unreadable_record"
    assert letter.headers == {"odd\\xff": b"1"}
