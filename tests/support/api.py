"""The HTTP API as a test calls it."""

from __future__ import annotations

import uuid
from typing import Any, Self

import httpx2

from infra.stack.info import StackInfo
from tests.support.wait import until

#: A render of a fraction of a second.
SMALL = {"width": 64, "height": 64, "num_frames": 7, "num_inference_steps": 4}


class Api:
    """Calls with the stack's key; answers are checked to be what the caller expects."""

    def __init__(self, info: StackInfo) -> None:
        headers = {"authorization": f"Bearer {info.api_key}"}
        self.http = httpx2.Client(base_url=info.http, headers=headers, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ready(self) -> bool:
        """Whether the API answers and reaches all it needs."""
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def submit(self, **fields: Any) -> str:
        """Submit a small job (fields override) and return its id."""
        body = {"prompt": "a fox", **SMALL, **fields}
        answer = self.http.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        answer = self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def await_status(self, job_id: str, *wanted: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the job has one of the statuses; fail at once on another terminal one."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            answer = self.http.get(f"/v1/jobs/{job_id}")
            if answer.status_code == 404:
                return False
            found.update(answer.json())
            ended = found["status"] in {"completed", "failed", "cancelled"}
            assert not ended or found["status"] in wanted, found
            return found["status"] in wanted

        until(reached, seconds, lambda: f"job {job_id} is {found or 'unknown'}")
        return found

    def timeline(self, job_id: str) -> list[str]:
        """Kinds of the job's events, in order."""
        answer = self.http.get(f"/v1/jobs/{job_id}/timeline")
        assert answer.status_code == 200, answer.text
        return [entry["kind"] for entry in answer.json()["data"]]

    def video(self, job_id: str) -> bytes:
        """The MP4, by the presigned link that the API redirects to."""
        answer = self.http.get(f"/v1/jobs/{job_id}/video")
        assert answer.status_code == 307, answer.text
        content = httpx2.get(answer.headers["location"], timeout=30)
        assert content.status_code == 200
        return content.content


def fresh_id() -> str:
    """A job id nobody has used."""
    return str(uuid.uuid4())
