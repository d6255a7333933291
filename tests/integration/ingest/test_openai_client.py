"""The official client, in its newest version and in 2.3, with nothing changed but its address."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.provision import object_store
from infra.setup import paths
from ingest.webhooks.payload import openai_payload, signed_headers
from schemas.records import PoolFact
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.reading import records
from tests.integration.ingest.test_submit import add_key
from tests.support.mp4 import mp4
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

SCRIPT = Path(__file__).with_name("openai_script.py")
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
VIDEO = mp4(7)
#: What becomes of a job whose prompt begins so; the others stay as they are.
FATES = {"finish": ("Admitted", "Started", "Completed"), "fail": ("Admitted", "Failed")}
FATES["run"] = ("Admitted", "Started")
#: The video that a webhook tells of.
TOLD = uuid.UUID("0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11")
KEYS = {
    *("id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at"),
    *("prompt", "size", "seconds", "remixed_from_video_id", "error"),
}


def client_argv(version: str) -> tuple[list[str], dict[str, str]]:
    """How Python is started with that version of the client: the command and its environment."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if version == "newest":
        return [sys.executable, str(SCRIPT)], env
    # Nothing of this environment's own: the old client with the libraries that it was made for.
    return [sys.executable, "-S", str(SCRIPT)], env | {"PYTHONPATH": str(paths.OPENAI_2_3)}


class Scheduler:
    """Has a tenant's jobs become what their prompts say, as they come."""

    def __init__(self, edge: EdgeStack, log: Log, tenant: str) -> None:
        self._edge, self._log, self._tenant = edge, log, tenant
        self._seen: set[uuid.UUID] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While this lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            query = "SELECT job_id, spec FROM jobs WHERE tenant_id = $1 AND status = 'pending'"
            for row in self._edge.sql(query, self._tenant):
                if row["job_id"] not in self._seen:
                    self._seen.add(row["job_id"])
                    self._play(str(row["job_id"]), json.loads(row["spec"]))

    def _play(self, job_id: str, spec: dict[str, Any]) -> None:
        fate = FATES.get(spec["prompt"], ())
        of = job(job_id, self._tenant).model_copy(update={"spec": spec_of_row(job_id, spec)})
        key = f"videos/{self._tenant}/{job_id}/life/1-1.mp4"
        bucket = self._edge.settings.s3_bucket
        if "Completed" in fate:
            store = object_store(self._edge.settings)
            store.put_object(bucket, key, io.BytesIO(VIDEO), len(VIDEO))
        made = artifact(key, len(VIDEO), bucket)
        made = made.model_copy(update={"sha256": hashlib.sha256(VIDEO).hexdigest()})
        self._log.write(happened(of, *fate, artifact_=made))


def spec_of_row(job_id: str, spec: dict[str, Any]) -> Any:
    return job(job_id).spec.model_copy(update=spec)


def webhook() -> str:
    """A delivery to an endpoint of OpenAI's shape."""
    now = datetime.now(UTC)
    body = openai_payload("Completed", TOLD, now, str(uuid.uuid4()))
    assert body is not None
    headers = signed_headers([SECRET], "msg_1", body, now)
    return json.dumps({"body": body, "headers": headers, "secret": SECRET})


@pytest.fixture(scope="module")
def limited(edge: EdgeStack) -> Iterator[str]:
    """The address of a replica that takes few creates a minute."""
    process, client = edge.api({"TTV_LIMIT_KEY": "submit=40"})
    yield f"{str(client.base_url).rstrip('/')}/v1"
    process.stop()


@pytest.fixture(scope="module", params=["newest", "2.3"])
def seen(request: pytest.FixtureRequest, edge: EdgeStack, log: Log, limited: str) -> dict[str, Any]:
    """What a program saw that used one version of the client."""
    tenant = f"openai-{uuid.uuid4().hex[:8]}"
    argv, env = client_argv(request.param)
    base = f"http://127.0.0.1:{edge.port}/v1"
    with Scheduler(edge, log, tenant).playing():
        done = subprocess.run(
            [*argv, base, limited, add_key(edge, tenant), webhook()],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["version"] == "2.3.0") == (request.param == "2.3")
    return found | {"tenant": tenant}


def test_a_video_is_created_from_what_the_client_sends(
    edge: EdgeStack, seen: dict[str, Any]
) -> None:
    made = seen["created"]
    assert set(made) >= KEYS
    assert (made["object"], made["model"], made["status"]) == ("video", "mochi-1", "queued")
    assert (made["seconds"], made["size"], made["progress"]) == ("4", "848x480", 0)
    assert made["metadata"] == {"a": "b", "c": "d"}
    (row,) = edge.sql("SELECT spec FROM jobs WHERE job_id = $1", uuid.UUID(made["id"]))
    spec = json.loads(row["spec"])
    assert (spec["num_frames"], spec["seed"], spec["negative_prompt"]) == (121, 7, "rain")


def test_a_lost_answer_or_a_key_given_twice_makes_no_second_video(
    edge: EdgeStack, seen: dict[str, Any]
) -> None:
    one, two, other = seen["keyed"]
    assert one == two
    assert (other["class"], other["code"]) == ("ConflictError", "idempotency_conflict")
    assert other["retries"] == "0", "a conflict stays one"
    query = "SELECT job_id FROM jobs WHERE tenant_id = $1 AND spec->>'prompt' = 'stay, lost'"
    assert [str(r["job_id"]) for r in edge.sql(query, seen["tenant"])] == [seen["retried"]]


def test_polling_ends_with_the_video_or_with_its_error(seen: dict[str, Any]) -> None:
    done, failed = seen["completed"], seen["failed"]
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    assert (done["seconds"], done["size"]) == ("0.2", "64x64")
    assert done["completed_at"] is not None
    assert (failed["status"], failed["error"]["code"]) == ("failed", "bad_output")
    assert seen["running"]["status"] == "in_progress"


def test_lists_page_through_everything_once_in_either_order(seen: dict[str, Any]) -> None:
    everything = {seen["created"]["id"], seen["keyed"][0], seen["retried"], seen["gone"][1]}
    everything |= {seen["completed"]["id"], seen["failed"]["id"]}
    assert len(seen["listed"]) == 6
    assert set(seen["listed"]) == everything
    assert seen["listed_asc"] == seen["listed"][::-1]
    assert seen["listed_asc"][0] == seen["created"]["id"]
    has_more, last_id, extra = seen["page"]
    assert (has_more, last_id) == (True, seen["listed"][0])
    assert (extra["object"], extra["first_id"]) == ("list", seen["listed"][0])


def test_every_variant_is_downloaded(seen: dict[str, Any]) -> None:
    content = seen["content"]
    assert content["video"]["sha256"] == hashlib.sha256(VIDEO).hexdigest()
    types = [content[name]["type"] for name in ("video", "thumbnail", "spritesheet")]
    assert types == ["video/mp4", "image/webp", "image/jpeg"]
    assert all(content[name]["size"] > 50 for name in content)
    refused = seen["not_ready"]
    assert (refused["status"], refused["code"], refused["retries"]) == (
        *(409, "video_not_ready", "0"),
    )


def test_errors_are_of_the_clients_own_classes_and_name_the_field(seen: dict[str, Any]) -> None:
    unknown = seen["unknown"]
    assert (unknown["class"], unknown["code"]) == ("NotFoundError", "not_found")
    stranger = seen["unauthenticated"]
    assert (stranger["class"], stranger["type"]) == ("AuthenticationError", "authentication_error")
    for field, wrong in seen["wrong"].items():
        assert (wrong["class"], wrong["type"]) == ("BadRequestError", "invalid_request_error")
        assert wrong["param"] == field
        assert wrong["code"]
    assert (seen["remix"]["class"], seen["remix"]["code"]) == ("NotFoundError", "unsupported")
    assert seen["wrong"]["model"]["code"] == "model_not_found"
    assert "mochi-1" in seen["wrong"]["model"]["message"]


def test_a_limit_is_waited_out_or_told(edge: EdgeStack, seen: dict[str, Any]) -> None:
    assert seen["hurried"]["made"] > 1
    made = edge.sql(
        "SELECT count(*) FROM jobs WHERE tenant_id = $1 AND spec->>'prompt' LIKE 'stay, number %'",
        seen["tenant"],
    )
    assert made[0]["count"] == seen["hurried"]["made"], "what was refused was made once, later"
    limited = seen["limited"]
    assert (limited["class"], limited["status"]) == ("RateLimitError", 429)
    assert (limited["code"], limited["type"]) == ("rate_limited", "rate_limit_error")


def test_a_deleted_video_is_stopped_on_its_gpu(edge: EdgeStack, seen: dict[str, Any]) -> None:
    running = seen["gone"][1]
    assert seen["deleted"] == [
        {"id": video, "deleted": True, "object": "video.deleted"}
        for video in (running, seen["completed"]["id"])
    ]
    assert (seen["gone"][0]["class"], seen["gone"][0]["code"]) == ("NotFoundError", "job_deleted")
    facts = records(edge, edge.topics.inbox(edge.settings.pool), PoolFact)
    cancelled = {
        fact.value.cancel_requested.job_id for fact in facts if fact.value.cancel_requested
    }
    assert running in cancelled


def test_a_webhook_is_unwrapped(seen: dict[str, Any]) -> None:
    assert seen["event"] == ["video.completed", str(TOLD)]
