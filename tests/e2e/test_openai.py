"""A program written for OpenAI's client, on real parts."""

import hashlib
import io
from typing import Any

import av
import pytest
from openai import NotFoundError, OpenAI

from infra.stack import Stack


@pytest.fixture
def videos(stack: Stack) -> Any:
    return OpenAI(base_url=f"{stack.info.http}/v1", api_key=stack.info.api_key, timeout=30).videos


@pytest.mark.filterwarnings("ignore:.*Sora API:DeprecationWarning")
def test_a_program_for_openais_client_gets_its_video(videos: Any) -> None:
    extra = {"num_inference_steps": 4, "seed": 7, "metadata": {"of": "a test"}}
    done = videos.create_and_poll(
        prompt="a fox", seconds="0.2", size="96x64", extra_body=extra, poll_interval_ms=100
    )
    assert (done.status, done.progress, done.seconds, done.size) == (
        *("completed", 100, "0.2", "96x64"),
    )
    job = videos._client.get(f"/jobs/{done.id}", cast_to=dict[str, Any])
    content = videos.download_content(done.id).read()
    assert hashlib.sha256(content).hexdigest() == job["artifact"]["sha256"]
    for variant, (width, height) in {"thumbnail": (96, 64), "spritesheet": (800, 212)}.items():
        picture = videos.download_content(done.id, variant=variant).read()
        with av.open(io.BytesIO(picture), "r") as container:
            frame = next(container.decode(video=0))
            assert (frame.width, frame.height) == (width, height)
    assert videos.delete(done.id).deleted
    with pytest.raises(NotFoundError):
        videos.retrieve(done.id)
