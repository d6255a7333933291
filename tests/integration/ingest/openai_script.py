"""What a program does with the ``openai`` client: run with each version of it, in a process alone.

    python openai_script.py BASE_URL LIMITED_URL KEY WEBHOOK

LIMITED_URL is a replica that takes few creates a minute. WEBHOOK is JSON: the body, headers and
secret of a delivery. Prints what it saw, as JSON. Whoever runs it plays the scheduler: a prompt
says what becomes of its job.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import openai

try:
    import httpx2 as httpx
except ImportError:  # the old client's library
    import httpx  # type: ignore[no-redef,import-not-found]


class Lossy(httpx.HTTPTransport):
    """Loses the answer to every first POST: the server did what it was asked for."""

    def handle_request(self, request: Any) -> Any:
        answer = super().handle_request(request)
        if request.method == "POST" and request.headers["x-stainless-retry-count"] == "0":
            answer.read()
            raise httpx.ReadError("lost", request=request)
        return answer


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    """What the client raises, as its user sees it."""
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "param": error.param,
            "type": error.type,
            "message": error.message,
            "retries": error.request.headers["x-stainless-retry-count"],
        }
    return {"class": None}


def picture(content: Any) -> dict[str, Any]:
    """A download: what it is and its digest."""
    data = content.read()
    return {
        "type": content.response.headers["content-type"],
        "etag": content.response.headers["etag"],
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def hurried(videos: Any) -> dict[str, Any]:
    """Creates one video after the other, until the client has been told to wait, and has."""
    for n in range(100):
        raw = videos.with_raw_response.create(prompt=f"stay, number {n}")
        if raw.retries_taken:
            return {"made": n + 1}
    return {}


def work(base: str, limited: str, key: str, webhook: dict[str, Any]) -> dict[str, Any]:
    """Everything, once."""
    seen: dict[str, Any] = {"version": openai.__version__}
    client = openai.OpenAI(base_url=base, api_key=key, webhook_secret=webhook["secret"], timeout=30)
    videos: Any = client.videos

    extra = {"seed": 7, "negative_prompt": "rain", "metadata": {"a": "b", "c": "d"}}
    made = videos.create(
        prompt="stay", model="mochi-1", seconds="4", size="848x480", extra_body=extra
    )
    seen["created"] = made.model_dump()
    again = {"extra_headers": {"Idempotency-Key": "one"}}
    seen["keyed"] = [
        *(videos.create(prompt="stay", **again).id for _ in range(2)),
        refusal(lambda: videos.create(prompt="stay, but other", **again)),
    ]
    lossy = openai.OpenAI(base_url=base, api_key=key, http_client=httpx.Client(transport=Lossy()))
    seen["retried"] = lossy.videos.create(prompt="stay, lost").id

    done = videos.create_and_poll(prompt="finish", size="64x64", seconds="0.2", poll_interval_ms=50)
    seen["completed"] = done.model_dump()
    seen["failed"] = videos.create_and_poll(prompt="fail", poll_interval_ms=50).model_dump()
    running = videos.create(prompt="run")
    while videos.retrieve(running.id).status == "queued":
        pass
    seen["running"] = videos.retrieve(running.id).model_dump()

    seen["listed"] = [video.id for video in videos.list(limit=2)]
    seen["listed_asc"] = [video.id for video in videos.list(limit=3, order="asc")]
    page = videos.list(limit=1)
    seen["page"] = [page.has_more, page.last_id, page.model_extra]
    seen["content"] = {
        name: picture(videos.download_content(done.id, variant=name))
        for name in ("video", "thumbnail", "spritesheet")
    }
    seen["not_ready"] = refusal(lambda: videos.download_content(made.id))

    seen["deleted"] = [videos.delete(which).model_dump() for which in (running.id, done.id)]
    seen["gone"] = [refusal(lambda: videos.retrieve(done.id)), running.id]

    seen["unknown"] = refusal(lambda: videos.retrieve("00000000-0000-4000-8000-000000000000"))
    seen["wrong"] = {
        "seconds": refusal(lambda: videos.create(prompt="x", seconds="12")),
        "size": refusal(lambda: videos.create(prompt="x", size="720x1280")),
        "model": refusal(lambda: videos.create(prompt="x", model="sora-2")),
        "prompt": refusal(lambda: videos.create(prompt="")),
        "seed": refusal(lambda: videos.create(prompt="x", extra_body={"seed": -1})),
        "quality": refusal(lambda: videos.create(prompt="x", extra_body={"quality": "hd"})),
        "input_reference": refusal(
            lambda: videos.create(prompt="x", input_reference=("a.png", b"\x89PNG" * 500_000))
        ),
    }
    seen["remix"] = refusal(lambda: videos.remix(done.id, prompt="x"))
    patient = openai.OpenAI(base_url=limited, api_key=key, max_retries=2)
    seen["hurried"] = hurried(patient.videos)
    hasty = openai.OpenAI(base_url=limited, api_key=key, max_retries=0)
    tries = (refusal(lambda: hasty.videos.create(prompt="stay")) for _ in range(9))
    seen["limited"] = next(told for told in tries if told["class"] is not None)
    stranger = openai.OpenAI(base_url=base, api_key="ttv_wrong")
    seen["unauthenticated"] = refusal(stranger.videos.list)
    event: Any = client.webhooks.unwrap(webhook["body"], webhook["headers"])
    seen["event"] = [event.type, event.data.id]
    return seen


if __name__ == "__main__":
    _, base, limited, key, webhook = sys.argv
    warnings.simplefilter("ignore")  # the new client calls these methods deprecated
    sys.stdout.write(json.dumps(work(base, limited, key, json.loads(webhook))))
