from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from infra.provision import object_store
from schemas.job import canonical_job_id
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

MANIFEST = json.dumps({"version": 1, "spec": {"prompt": "a private fox"}}).encode()


@dataclass
class Sealed:
    """A completed job with a video, a seal and a manifest in the bucket."""

    edge: EdgeStack
    log: Log
    job_id: str = ""
    stem: str = ""

    def put(self, name: str, content: bytes) -> None:
        store, bucket = object_store(self.edge.settings), self.edge.settings.s3_bucket
        store.put_object(bucket, f"{self.stem}{name}", io.BytesIO(content), len(content))

    def seal(self, **fields: Any) -> None:
        digest = hashlib.sha256(MANIFEST).hexdigest()
        told = {"key": f"{self.stem}.mp4", "sha256": "ab" * 32, "manifest_sha256": digest}
        self.put(".json", json.dumps(told | fields).encode())

    def complete(self) -> None:
        of = job(parent_job_id="0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11")
        self.job_id, self.stem = of.job_id, f"videos/{of.tenant_id}/{of.job_id}/life/1-1"
        video = artifact(f"{self.stem}.mp4", 4, self.edge.settings.s3_bucket)
        self.put(".mp4", b"mp4!")
        self.put(".manifest.json", MANIFEST)
        self.seal()
        self.log.write(happened(of, "Admitted", "Completed", artifact_=video))


@pytest.fixture
def sealed(edge: EdgeStack, log: Log, api: httpx2.Client) -> Sealed:
    made = Sealed(edge, log)
    made.complete()
    until(lambda: api.get(f"/v1/jobs/{made.job_id}/manifest").status_code == 200, 30)
    return made


def test_its_owner_gets_the_very_bytes_that_were_sealed_and_nobody_else_does(
    edge: EdgeStack, api: httpx2.Client, sealed: Sealed
) -> None:
    shown = api.get(f"/v1/jobs/{sealed.job_id}").json()
    answer = api.get(shown["links"]["manifest"])
    assert answer.content == MANIFEST
    assert answer.headers["etag"] == f'"{hashlib.sha256(MANIFEST).hexdigest()}"'
    assert answer.headers["content-type"] == "application/json"
    with edge.client(add_key(edge, "stranger-of-manifests")) as other:
        assert other.get(f"/v1/jobs/{sealed.job_id}/manifest").status_code == 404
    assert edge.client("no key").get(f"/v1/jobs/{sealed.job_id}/manifest").status_code == 401


def test_a_redriven_job_shows_its_parent(api: httpx2.Client, sealed: Sealed) -> None:
    parent = api.get(f"/v1/jobs/{sealed.job_id}").json()["parent_job_id"]
    assert canonical_job_id(parent) == "0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11"
    plain = api.post("/v1/jobs", json={"prompt": "x"}).json()
    assert plain["parent_job_id"] is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".manifest.json", b'{"version": 1}'),
        (".manifest.json", b" " * (64 * 1024 + 1)),
        (".json", b"no seal"),
        (".json", b" " * (64 * 1024 + 1)),
    ],
)
def test_what_its_seal_does_not_vouch_for_is_not_given_out(
    api: httpx2.Client, sealed: Sealed, name: str, content: bytes
) -> None:
    sealed.put(name, content)
    answer = api.get(f"/v1/jobs/{sealed.job_id}/manifest")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "private" not in answer.text


def test_a_seal_of_another_video_vouches_for_nothing(api: httpx2.Client, sealed: Sealed) -> None:
    sealed.seal(sha256="cd" * 32)
    assert api.get(f"/v1/jobs/{sealed.job_id}/manifest").status_code == 404


def test_a_job_that_is_not_done_has_none(api: httpx2.Client) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "x"}).json()["id"]
    answer = api.get(f"/v1/jobs/{job_id}/manifest")
    assert (answer.status_code, answer.json()["code"]) == (409, "video_not_ready")
