"""A finished video can be rendered again and compared by anyone who has the same machine."""

import io
import json

import pytest

from infra.provision import object_store
from infra.stack import Stack
from infra.stack.services import environment
from tests.support.api import Api, fresh_id
from tests.support.feeds import events_of
from tests.support.settings import settings_from
from tests.support.ttv import Ttv


@pytest.fixture(scope="module")
def ttv(stack: Stack) -> Ttv:
    return Ttv.of(stack)


def replace(stack: Stack, key: str, content: bytes) -> bytes:
    """Put other bytes under a key of the bucket; those that were there."""
    config = settings_from(environment(stack.info))
    store = object_store(config)
    with store.get_object(config.s3_bucket, key) as answer:
        before = bytes(answer.read())
    store.put_object(config.s3_bucket, key, io.BytesIO(content), len(content))
    return before


def key_of(stack: Stack, job_id: str) -> str:
    completed = [e for e in events_of(stack.info, job_id) if e.kind == "Completed"]
    assert completed[0].artifact is not None
    return completed[0].artifact.key


@pytest.mark.timeout(300)
def test_a_real_video_is_equal_and_a_changed_one_is_not(stack: Stack, api: Api, ttv: Ttv) -> None:
    job_id = api.submit(seed=3, prompt="a lighthouse")
    sha256 = api.await_status(job_id, "completed")["artifact"]["sha256"]
    manifest = api.http.get(f"/v1/jobs/{job_id}/manifest")
    assert manifest.status_code == 200
    assert manifest.json()["spec"]["prompt"] == "a lighthouse"

    verdict = ttv.json("verify", job_id)
    assert verdict["equal"] is True
    assert verdict["promised"] is True
    assert verdict["frames_equal"] is True
    assert verdict["rendered_sha256"] == verdict["video_sha256"] == sha256

    key = key_of(stack, job_id)
    video = api.video(job_id)
    changed = video[:-1] + bytes([video[-1] ^ 1])
    assert replace(stack, key, changed) == video
    told = ttv.json("verify", job_id, status=1)
    assert told["equal"] is False
    assert "announced" in told["detail"]
    replace(stack, key, video)

    other = json.dumps(manifest.json() | {"frames_sha256": "0" * 64}).encode()
    kept = replace(stack, key[:-4] + ".manifest.json", other)
    assert "vouches" in ttv.run("verify", job_id, status=2)
    replace(stack, key[:-4] + ".manifest.json", kept)


def test_what_cannot_be_compared_says_what_to_do(api: Api, ttv: Ttv, stack: Stack) -> None:
    assert "not found" in ttv.run("verify", fresh_id(), status=2).lower()
    job_id = api.submit()
    api.await_status(job_id, "completed")
    other = Ttv.of(stack, TTV_MODEL="genmo/mochi-1-preview")
    assert "TTV_MODEL" in other.run("verify", job_id, status=2)
