"""Objects of more than 32 MiB go in parts: a lost answer costs a part, and nothing is torn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rust_guard import ClaimConflict, Guard
from tests.integration.guard.conftest import Job, Store
from tests.integration.guard.proxy import Answer, running

pytestmark = pytest.mark.stack

STEP, TOTAL = 8, 64


def large(value: float) -> bytes:
    """A checkpoint of 40 MiB, three parts and more."""
    latents = torch.arange(10 * 2**20, dtype=torch.float32).fmod(251.0).add(value)
    return save({"latents": latents.view(1, 10, 1024, 1024)}, {"format": "pt"})


@pytest.fixture(scope="module")
def data() -> bytes:
    return large(0.5)


@pytest.fixture
def path(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(data)
    return path


def assert_whole(guard: Guard, store: Store, job: Job, path: Path, data: bytes) -> None:
    """It comes back as it was, and no upload is left half done."""
    target = path.with_name("target")
    found = guard.latest_checkpoint(job.claim(guard), target)
    assert found is not None
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert target.read_bytes() == data
    left = store.client._list_multipart_uploads(store.bucket)
    assert [upload for upload in left.uploads if job.job_id in upload.object_name] == []


def test_it_comes_back_whole(guard: Guard, store: Store, job: Job, path: Path, data: bytes) -> None:
    paths: list[str] = []

    def see(_number: int, path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer:
        paths.append(path)
        return forward()

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = see
        store.guard(url).checkpoint(job.claim(guard), path, STEP, TOTAL, "h100")
    assert sum("partNumber=" in one for one in paths) >= 3
    assert_whole(guard, store, job, path, data)


def test_a_part_whose_answer_is_lost_is_sent_again(
    guard: Guard, store: Store, job: Job, path: Path, data: bytes
) -> None:
    lost: list[str] = []

    def lose(_number: int, path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        if "partNumber=" in path and not lost:
            lost.append(path)
            return None
        return answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lose
        store.guard(url).checkpoint(job.claim(guard), path, STEP, TOTAL, "h100")
    assert lost
    assert_whole(guard, store, job, path, data)


def test_a_completion_whose_answer_is_lost_is_found_done(
    guard: Guard, store: Store, job: Job, path: Path, data: bytes
) -> None:
    lost: list[str] = []

    def lose(path: str, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        if "uploadId=" in path and not lost:
            lost.append(path)
            return None
        return answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_post = lose
        store.guard(url).checkpoint(job.claim(guard), path, STEP, TOTAL, "h100")
    assert lost
    assert_whole(guard, store, job, path, data)


def test_other_bytes_for_the_same_key_never_replace_it(
    guard: Guard, store: Store, job: Job, path: Path, data: bytes
) -> None:
    claim = job.claim(guard)
    guard.checkpoint(claim, path, STEP, TOTAL, "h100")
    other = path.with_name("other")
    other.write_bytes(large(1.5))
    with pytest.raises(ClaimConflict):
        guard.checkpoint(claim, other, STEP, TOTAL, "h100")
    assert_whole(guard, store, job, path, data)
