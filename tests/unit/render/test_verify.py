"""What a manifest must be, and what a comparison says. No render, no torch."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from gpu_consumer import verify as verifying
from gpu_consumer.attempt import Attempt
from gpu_consumer.manifest import MAX_BYTES, BadManifestError, Manifest, manifest, read
from gpu_consumer.render.events import Ready, Rendered
from gpu_consumer.verify import (
    CannotCompareError,
    Difference,
    differences,
    judged,
    main,
    threads_of,
    verify,
)
from infra.settings import Settings
from infra.telemetry import begin_span
from tests.unit.ingest.events import job

FINGERPRINT = "model=tiny;weights=ab;dtype=float32;device=cpu;torch=2.15;cpu=x86;threads=2"
FIELDS: dict[str, Any] = {
    "version": 1,
    "job_id": "0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11",
    "attempt": 1,
    "spec": {
        "prompt": "a fox",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "num_frames": 7,
        "num_inference_steps": 4,
        "guidance_scale": 4.5,
        "seed": 3,
    },
    "spec_digest": "ab" * 32,
    "fps": 30,
    "frames_sha256": "cd" * 32,
    "resumed_from": 0,
    "model": "tiny",
    "device": "cpu",
    "dtype": "float32",
    "fingerprint": FINGERPRINT,
    "libraries": {"torch": "2.15"},
}


def content(**fields: Any) -> bytes:
    return json.dumps(FIELDS | fields).encode()


def spec(**fields: Any) -> dict[str, Any]:
    return dict(FIELDS["spec"]) | fields


def about(**fields: Any) -> Manifest:
    return read(content(**fields))


def rendered(frames_sha256: str = "cd" * 32) -> Rendered:
    return Rendered("verify", Path("again.mp4"), frames_sha256, 7, 30, 1.0, 0)


def test_what_a_slot_writes_can_be_read() -> None:
    attempt = Attempt(1, 1, job(), 0, "life", begin_span("x", None), frames_sha256="cd" * 32)
    ready = Ready(1, "cpu", "cpu", "float32", "tiny", {"torch": "2.15"}, FINGERPRINT)
    found = read(manifest(attempt, ready).encode())
    assert found.spec == attempt.job.spec
    assert found.fingerprint == FINGERPRINT


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{" * 60_000,
        b"[" * 60_000,
        content()[:-1] + b', "attempt": 1}',
        b" " * (MAX_BYTES + 1),
        content(version=2),
        content(version=True),
        content(fps=24),
        content(extra=1),
        content(model=7),
        content(model="x\x1b[2J"),
        content(model="tiny\n"),
        content(fingerprint="a" * 2000),
        content(frames_sha256="AB" * 32),
        content(spec=None),
        content(spec=spec(prompt="")),
        content(spec=spec(width=100_000)),
        content(spec=spec(width="64")),
        content(spec=spec(num_frames=8)),
        content(spec=spec(num_inference_steps=10**9)),
        content(spec=spec(guidance_scale=float("nan"))),
        content(spec=spec(seed=-1)),
        content(spec=spec(more=1)),
        content(libraries={"torch": 7}),
    ],
)
def test_anything_else_is_refused_without_a_word_of_it(hostile: bytes) -> None:
    with pytest.raises(BadManifestError) as refused:
        read(hostile)
    assert "fox" not in str(refused.value)


def test_a_damaged_manifest_never_ends_the_reader() -> None:
    chance = random.Random(7)
    whole = content()
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read(bytes(damaged))
        except BadManifestError:
            continue


def test_what_differs_of_two_fingerprints_is_named() -> None:
    assert differences(FINGERPRINT, FINGERPRINT) == []
    now = FINGERPRINT.replace("torch=2.15", "torch=2.16") + ";cudnn=9"
    assert differences(FINGERPRINT, now) == [
        Difference("torch", "2.15", "2.16"),
        Difference("cudnn", None, "9"),
    ]


@pytest.mark.parametrize(
    ("line", "threads"),
    [
        (FINGERPRINT, 2),
        ("threads=1", 1),
        ("cuda=13", None),
        ("threads=0", None),
        ("threads=9999", None),
        ("threads=2 ; x", None),
        ("", None),
    ],
)
def test_the_number_of_threads_is_taken_from_the_fingerprint_alone(
    line: str, threads: int | None
) -> None:
    assert threads_of(line) == threads


def test_the_same_bytes_are_equal_and_other_bytes_are_not() -> None:
    same = judged(about(), "11", rendered(), "11", [])
    assert same.equal
    assert same.promised
    other = judged(about(), "11", rendered("ee" * 32), "22", [])
    assert not other.equal
    assert other.frames_equal is False
    assert "same hardware and software" in other.detail
    recoded = judged(about(), "11", rendered(), "22", [])
    assert not recoded.equal
    assert recoded.frames_equal is True


def test_on_other_hardware_a_difference_is_told_to_be_no_broken_promise() -> None:
    found = [Difference("device", "H100", "cpu")]
    verdict = judged(about(), "11", rendered("ee" * 32), "22", found)
    assert not verdict.equal
    assert verdict.promised is False
    assert "only promised" in verdict.detail


def test_a_video_that_was_not_announced_is_different_without_a_render(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"changed")
    verdict = verify(about(), video, Settings(), hashlib.sha256(b"video").hexdigest())
    assert not verdict.equal
    assert verdict.rendered_sha256 is None


def test_a_manifest_never_chooses_the_model_that_is_loaded(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"video")
    with pytest.raises(CannotCompareError, match="TTV_MODEL"):
        verify(about(model="someone/else"), video, Settings(), None)


def test_other_weights_are_another_model() -> None:
    found = differences(FINGERPRINT, FINGERPRINT.replace("weights=ab", "weights=cd"))
    with pytest.raises(CannotCompareError, match="revision"):
        verifying._same_model(found)


def test_what_cannot_be_compared_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "m.json"
    bad.write_bytes(content(version=2))
    assert main([str(bad), str(tmp_path / "v.mp4"), "--json"]) == 2
    assert "error" in json.loads(capsys.readouterr().out)
    assert main([str(tmp_path / "none"), str(tmp_path / "v.mp4")]) == 2
    assert "cannot compare" in capsys.readouterr().err
