"""What an ended job leaves on a real store is deleted; what its terminal event names stays."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from rust_guard import Artifact, Claim, Guard, InvalidId
from tests.integration.guard.conftest import Job, Store
from tests.unit.guard.checkpoint_files import checkpoint_file
from tests.unit.guard.clips import clip

pytestmark = pytest.mark.stack


@pytest.fixture
def work(guard: Guard, tmp_path: Path) -> Callable[[Claim], Artifact]:
    """Two checkpoints and a sealed video with its manifest, by the start that a claim is."""

    def work(claim: Claim) -> Artifact:
        for step in (8, 16):
            path = tmp_path / f"{step}.safetensors"
            path.write_bytes(checkpoint_file(step))
            guard.checkpoint(claim, path, step, 64, "h100")
        video = tmp_path / "clip.mp4"
        video.write_bytes(clip())
        return guard.seal(claim, video, 7, 30, 32, 32, manifest="{}")

    return work


def keys_of(store: Store, job: Job) -> list[str]:
    return [key for key in store.listing() if job.job_id in key]


def test_only_the_named_video_and_the_claims_are_left(
    guard: Guard,
    store: Store,
    new_job: Callable[[], Job],
    work: Callable[[Claim], Artifact],
) -> None:
    job, other = new_job(), new_job()
    recreated = Job(new_job().pool_incarnation, job.tenant_id, job.job_id)
    made = [
        work(claim)
        for claim in (
            job.claim(guard),
            job.claim(guard),
            job.claim(guard, attempt=2, offset=9),
            recreated.claim(guard),
        )
    ]
    work(other.claim(guard))
    others = keys_of(store, other)
    claims = [key for key in keys_of(store, job) if key.startswith("claims/")]
    before = len(keys_of(store, job))
    kept = made[1]
    stem = kept.key.removesuffix(".mp4")
    stays = sorted([*claims, f"{stem}.json", f"{stem}.manifest.json", kept.key])
    gone = guard.collect(job.tenant_id, job.job_id, kept.key)
    assert sorted(keys_of(store, job)) == stays
    assert gone == before - len(stays)
    assert guard.collect(job.tenant_id, job.job_id, kept.key) == 0
    assert keys_of(store, other) == others
    assert guard.sealed(job.claim(guard, attempt=3, offset=10)) == kept
    assert guard.take_rejected() == []


def test_a_failed_job_leaves_its_claims_alone(
    guard: Guard, store: Store, job: Job, work: Callable[[Claim], Artifact]
) -> None:
    work(job.claim(guard))
    guard.collect(job.tenant_id, job.job_id)
    assert keys_of(store, job) == [job.claim_key]


def test_what_the_guard_did_not_write_stays(guard: Guard, store: Store, job: Job) -> None:
    job.claim(guard)
    key = f"{job.videos}/holiday.mp4"
    store.client.put_object(store.bucket, key, BytesIO(b"x"), 1)
    assert guard.collect(job.tenant_id, job.job_id) == 1
    assert keys_of(store, job) == [job.claim_key, key]


def test_a_mix_up_deletes_nothing(
    guard: Guard, store: Store, new_job: Callable[[], Job], work: Callable[[Claim], Artifact]
) -> None:
    job, other = new_job(), new_job()
    mine, theirs = work(job.claim(guard)), work(other.claim(guard))
    before = store.listing()
    for tenant, job_id, keep in [
        (job.tenant_id, job.job_id, theirs.key),
        ("other", job.job_id, mine.key),
        (job.tenant_id, job.job_id, mine.manifest_key),
        (job.tenant_id, job.job_id, ""),
        ("..", job.job_id, None),
        (job.tenant_id, "", None),
        (job.tenant_id, "../" + job.job_id, None),
    ]:
        with pytest.raises(InvalidId):
            guard.collect(tenant, job_id, keep)
    assert store.listing() == before
