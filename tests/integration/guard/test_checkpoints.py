"""Checkpoints on a real store: found by any later start, never believed without a look."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rust_guard import BadCheckpoint, Checkpoint, Claim, ClaimConflict, Guard, InvalidId
from tests.integration.guard.conftest import Job, Store
from tests.integration.guard.proxy import Answer, running
from tests.unit.guard.checkpoint_files import checkpoint_file

pytestmark = pytest.mark.stack

TOTAL = 64


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "resume.safetensors"


@pytest.fixture
def put(guard: Guard, tmp_path: Path) -> Callable[..., Checkpoint]:
    def put(claim: Claim, step: int, fingerprint: str = "h100") -> Checkpoint:
        path = tmp_path / f"{step}.safetensors"
        path.write_bytes(checkpoint_file(step))
        return guard.checkpoint(claim, path, step, TOTAL, fingerprint)

    return put


def overwrite(store: Store, key: str, body: bytes) -> None:
    store.client.put_object(store.bucket, key, BytesIO(body), len(body))


def record_key(checkpoint: Checkpoint) -> str:
    return checkpoint.key.removesuffix(".safetensors") + ".json"


def folder(job: Job) -> str:
    return f"checkpoints/{job.tenant_id}/{job.job_id}/{job.pool_incarnation}"


def test_the_newest_step_is_found_by_another_attempt(
    guard: Guard, store: Store, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    first = job.claim(guard)
    assert guard.latest_checkpoint(first, target) is None
    assert not target.exists()
    stored = {step: put(first, step) for step in (8, 16, 24)}
    found = guard.latest_checkpoint(job.claim(guard, attempt=2, offset=9), target, "h100")
    assert found == stored[24]
    assert found is not None
    assert (found.step, found.total, found.attempt, found.start) == (24, TOTAL, 1, 1)
    assert (found.fingerprint, found.key) == ("h100", f"{folder(job)}/1-1/00024.safetensors")
    data = checkpoint_file(24)
    assert target.read_bytes() == store.read(found.key) == data
    assert (found.sha256, found.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert float(load_file(target)["latents"].max()) == 24.0
    assert json.loads(store.read(record_key(found)))["key"] == found.key
    assert guard.take_rejected() == []


def test_a_damaged_checkpoint_is_set_aside_and_the_next_best_taken(
    guard: Guard, store: Store, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    claim = job.claim(guard)
    stored = [put(claim, step) for step in (8, 16, 24, 32)]
    data = bytearray(checkpoint_file(32))
    data[-1] ^= 1
    overwrite(store, stored[3].key, bytes(data))
    overwrite(store, record_key(stored[2]), b"{}")
    store.client.remove_object(store.bucket, stored[1].key)
    target.write_bytes(b"what was there before")
    assert guard.latest_checkpoint(claim, target) == stored[0]
    assert target.read_bytes() == checkpoint_file(8)
    assert [key for key, _ in guard.take_rejected()] == [record_key(bad) for bad in stored[:0:-1]]
    store.client.remove_object(store.bucket, record_key(stored[0]))
    assert guard.latest_checkpoint(claim, target) is None
    assert target.read_bytes() == checkpoint_file(8)


def test_among_equal_steps_ones_own_fingerprint_is_preferred(
    guard: Guard, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    for attempt, fingerprint in [(1, "h100"), (2, "h200")]:
        put(job.claim(guard, attempt=attempt, offset=attempt), 8, fingerprint)
    claim = job.claim(guard, attempt=3, offset=3)
    for wanted, expected in [("h100", 1), ("h200", 2), ("b200", 2), (None, 2)]:
        found = guard.latest_checkpoint(claim, target, wanted)
        assert found is not None
        assert found.attempt == expected


def test_what_another_model_made_is_passed_over(
    guard: Guard, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    ours = put(job.claim(guard), 8, "model=a;weights=1;dtype=f;device=h100")
    put(job.claim(guard, attempt=2, offset=9), 16, "model=a;weights=2;dtype=f;device=h100")
    claim = job.claim(guard, attempt=3, offset=10)
    for device in ("h100", "h200"):
        identity = "model=a;weights=1;dtype=f"
        found = guard.latest_checkpoint(
            claim, target, f"{identity};device={device}", identity=identity
        )
        assert found == ours
    assert guard.take_rejected() == []


def test_another_spec_and_a_recreated_cluster_begin_anew(
    guard: Guard, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    put(job.claim(guard), 8)
    other = job.claim(guard, attempt=2, offset=9, digest="0f" * 32)
    assert guard.latest_checkpoint(other, target) is None
    assert "another spec" in guard.take_rejected()[0][1]
    recreated = Job("00000000-0000-4000-8000-00000000000c", job.tenant_id, job.job_id)
    assert guard.latest_checkpoint(recreated.claim(guard), target) is None
    assert guard.take_rejected() == []


def test_release_deletes_the_checkpoints_of_its_incarnation_alone(
    guard: Guard, store: Store, job: Job, put: Callable[..., Checkpoint], target: Path
) -> None:
    recreated = Job("00000000-0000-4000-8000-00000000000d", job.tenant_id, job.job_id)
    kept = put(recreated.claim(guard), 8)
    for attempt in (1, 2):
        claim = job.claim(guard, attempt=attempt, offset=attempt)
        for step in range(1, 12):
            put(claim, step)
    assert len(store.listing(folder(job))) == 44
    guard.announce(claim)
    for _ in range(2):
        guard.release(claim)
        assert store.listing(folder(job)) == []
        assert guard.latest_checkpoint(claim, target) is None
    assert store.listing(folder(recreated)) == [record_key(kept), kept.key]


def test_storing_the_same_file_again_changes_nothing_and_another_is_refused(
    guard: Guard, job: Job, put: Callable[..., Checkpoint], tmp_path: Path, target: Path
) -> None:
    claim = job.claim(guard)
    stored = put(claim, 8)
    assert put(claim, 8) == stored
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint_file(9))
    with pytest.raises(ClaimConflict, match="checkpoint"):
        guard.checkpoint(claim, other, 8, TOTAL, "h100")
    assert guard.latest_checkpoint(claim, target) == stored


def test_what_is_no_checkpoint_is_not_uploaded(
    guard: Guard, store: Store, job: Job, tmp_path: Path, target: Path
) -> None:
    claim = job.claim(guard)
    path = tmp_path / "bad.safetensors"
    for body, reason in [(checkpoint_file(float("nan")), "not_finite"), (b"cut", "truncated")]:
        path.write_bytes(body)
        with pytest.raises(BadCheckpoint) as caught:
            guard.checkpoint(claim, path, 8, TOTAL, "h100")
        assert caught.value.reason == reason
    path.write_bytes(checkpoint_file())
    for step, total, fingerprint in [(0, 64, "x"), (65, 64, "x"), (8, 64, ""), (8, 64, "a\nb")]:
        with pytest.raises(InvalidId):
            guard.checkpoint(claim, path, step, total, fingerprint)
    assert store.listing(folder(job)) == []
    guard.checkpoint(claim, path, 8, TOTAL, "h100")
    with pytest.raises(BadCheckpoint) as caught:
        guard.latest_checkpoint(claim, target / "no" / "folder")
    assert caught.value.reason == "unwritable"


@pytest.mark.parametrize("lost", [1, 2], ids=["file", "record"])
def test_a_checkpoint_whose_answer_was_lost_is_stored(
    store: Store, guard: Guard, job: Job, tmp_path: Path, target: Path, lost: int
) -> None:
    claim = job.claim(guard)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(checkpoint_file())

    def lose(number: int, _path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        return None if number == lost else answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lose
        stored = store.guard(url).checkpoint(claim, path, 8, TOTAL, "h100")
    assert guard.latest_checkpoint(claim, target) == stored
