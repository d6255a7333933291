"""Sealed artifacts on a real store: checked, put once, adopted, never believed without a look."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from rust_guard import BadArtifact, BadManifest, ClaimConflict, Guard
from tests.integration.guard.conftest import DIGEST, Job, Store
from tests.integration.guard.proxy import Answer, running
from tests.unit.guard.clips import clip

pytestmark = pytest.mark.stack

VIDEO: dict[str, Any] = {"frames": 7, "fps": 30, "width": 32, "height": 32}


@pytest.fixture
def mp4(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip())
    return path


def test_what_is_sealed_is_what_was_rendered(
    guard: Guard, store: Store, job: Job, mp4: Path
) -> None:
    artifact = guard.seal(job.claim(guard), mp4, **VIDEO)
    data = mp4.read_bytes()
    assert artifact.key == f"{job.videos}/1-1.mp4"
    assert store.read(artifact.key) == data
    assert (artifact.sha256, artifact.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (artifact.frames, artifact.fps, artifact.width, artifact.height) == (7, 30, 32, 32)
    assert artifact.duration_s == pytest.approx(7 / 30)
    stat = store.client.stat_object(store.bucket, artifact.key)
    assert stat.content_type == "video/mp4"
    seal = json.loads(store.read(f"{job.videos}/1-1.json"))
    assert (seal["key"], seal["sha256"], seal["spec_digest"]) == (
        artifact.key,
        artifact.sha256,
        DIGEST,
    )


def test_any_later_attempt_or_start_adopts_it(guard: Guard, job: Job, mp4: Path) -> None:
    first = job.claim(guard)
    assert guard.sealed(first) is None
    artifact = guard.seal(first, mp4, **VIDEO)
    assert guard.sealed(job.claim(guard)) == artifact
    assert guard.sealed(job.claim(guard, attempt=2, offset=99)) == artifact
    assert guard.take_rejected() == []


def test_a_manifest_is_found_with_the_artifact_and_vouched_for_by_its_seal(
    guard: Guard, store: Store, job: Job, mp4: Path
) -> None:
    claim, manifest = job.claim(guard), json.dumps({"seed": 7, "prompt": "a füchs"})
    for bad in ("", "[]", "{", '{"a": "' + "x" * 70_000 + '"}'):
        with pytest.raises(BadManifest):
            guard.seal(claim, mp4, **VIDEO, manifest=bad)
    assert store.listing(job.videos) == []
    sealed = guard.seal(claim, mp4, **VIDEO, manifest=manifest)
    assert guard.sealed(job.claim(guard, attempt=2, offset=9)) == sealed
    assert guard.manifest(sealed) == manifest
    assert sealed.manifest_key == f"{job.videos}/1-1.manifest.json"
    assert sealed.manifest_sha256 == hashlib.sha256(manifest.encode()).hexdigest()
    with pytest.raises(ClaimConflict, match="manifest"):
        guard.seal(claim, mp4, **VIDEO, manifest="{}")
    store.client.put_object(store.bucket, sealed.manifest_key, BytesIO(b"{}"), 2)
    with pytest.raises(BadManifest, match="other bytes"):
        guard.manifest(sealed)
    store.client.remove_object(store.bucket, sealed.manifest_key)
    with pytest.raises(BadManifest, match="missing"):
        guard.manifest(sealed)
    assert guard.sealed(claim) == sealed


def test_an_artifact_without_a_manifest_has_none(guard: Guard, job: Job, mp4: Path) -> None:
    sealed = guard.seal(job.claim(guard), mp4, **VIDEO)
    assert (sealed.manifest_key, sealed.manifest_sha256) == (None, None)
    assert guard.manifest(sealed) is None


def test_a_recreated_cluster_does_not_adopt_what_the_old_one_left(
    guard: Guard, job: Job, mp4: Path
) -> None:
    guard.seal(job.claim(guard), mp4, **VIDEO)
    recreated = Job("00000000-0000-4000-8000-00000000000b", job.tenant_id, job.job_id)
    claim = recreated.claim(guard, digest="0f" * 32)
    assert guard.sealed(claim) is None
    assert guard.seal(claim, mp4, **VIDEO).key != f"{job.videos}/1-1.mp4"


def test_another_spec_does_not_adopt_it(guard: Guard, job: Job, mp4: Path) -> None:
    guard.seal(job.claim(guard), mp4, **VIDEO)
    assert guard.sealed(job.claim(guard, attempt=2, digest="0f" * 32)) is None
    [(key, reason)] = guard.take_rejected()
    assert (key, reason) == (f"{job.videos}/1-1.json", "the seal is of another spec")


def test_an_artifact_that_was_changed_or_deleted_is_not_adopted(
    guard: Guard, store: Store, job: Job, mp4: Path
) -> None:
    artifact = guard.seal(job.claim(guard), mp4, **VIDEO)
    changed = bytearray(mp4.read_bytes())
    changed[-1] ^= 1
    for body, reason in [(bytes(changed), "other bytes"), (b"short", "missing")]:
        store.client.put_object(store.bucket, artifact.key, BytesIO(body), len(body))
        assert guard.sealed(job.claim(guard)) is None
        assert reason in guard.take_rejected()[0][1]
    store.client.remove_object(store.bucket, artifact.key)
    assert guard.sealed(job.claim(guard)) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 9000, b" " * 50_000])
def test_a_hostile_seal_is_set_aside_and_the_job_goes_on(
    guard: Guard, store: Store, job: Job, mp4: Path, body: bytes
) -> None:
    key = f"{job.videos}/1-1.json"
    store.client.put_object(store.bucket, key, BytesIO(body), len(body))
    job.claim(guard)
    second = job.claim(guard)
    assert guard.sealed(second) is None
    assert [rejected for rejected, _ in guard.take_rejected()] == [key]
    artifact = guard.seal(second, mp4, **VIDEO)
    assert guard.sealed(second) == artifact


def test_a_bad_video_is_not_uploaded(
    guard: Guard, store: Store, job: Job, mp4: Path, tmp_path: Path
) -> None:
    claim = job.claim(guard)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(mp4.read_bytes()[:-100])
    bad = [(cut, VIDEO), (mp4, VIDEO | {"frames": 13}), (tmp_path / "none.mp4", VIDEO)]
    reasons = []
    for path, expected in bad:
        with pytest.raises(BadArtifact) as caught:
            guard.seal(claim, path, **expected)
        reasons.append(caught.value.reason)
    assert reasons == ["truncated", "frame_count", "unreadable"]
    assert store.listing(job.videos) == []


def test_sealing_the_same_file_again_changes_nothing(guard: Guard, job: Job, mp4: Path) -> None:
    claim = job.claim(guard)
    assert guard.seal(claim, mp4, **VIDEO) == guard.seal(claim, mp4, **VIDEO)


def test_a_start_cannot_replace_what_it_sealed(
    guard: Guard, store: Store, job: Job, mp4: Path, tmp_path: Path
) -> None:
    claim = job.claim(guard)
    artifact = guard.seal(claim, mp4, **VIDEO)
    other = tmp_path / "other.mp4"
    other.write_bytes(clip(width=64))
    with pytest.raises(ClaimConflict, match="artifact"):
        guard.seal(claim, other, **(VIDEO | {"width": 64}))
    assert store.read(artifact.key) == mp4.read_bytes()


@pytest.mark.parametrize("lost", [1, 2], ids=["video", "seal"])
def test_an_upload_whose_answer_was_lost_is_sealed(
    store: Store, guard: Guard, job: Job, mp4: Path, lost: int
) -> None:
    claim = job.claim(guard)

    def lose(number: int, _path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        return None if number == lost else answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lose
        artifact = store.guard(url).seal(claim, mp4, **VIDEO)
    assert guard.sealed(claim) == artifact
