from __future__ import annotations

import hashlib
import io

import httpx2
import pytest

from infra.provision import object_store
from schemas.records import AuditEvent
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.reading import records
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

VIDEO = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def done(edge: EdgeStack, log: Log) -> str:
    """A completed job whose video lies in the object store."""
    of = job()
    key = f"videos/{of.job_id}.mp4"
    store = object_store(edge.settings)
    store.put_object(edge.settings.s3_bucket, key, io.BytesIO(VIDEO), len(VIDEO))
    video = artifact(key, len(VIDEO), edge.settings.s3_bucket).model_copy(
        update={"sha256": hashlib.sha256(VIDEO).hexdigest()}
    )
    log.write(happened(of, "Admitted", "Completed", artifact_=video))
    with edge.client(edge.key) as api:
        until(lambda: api.get(f"/v1/jobs/{of.job_id}").status_code == 200, 20)
        until(lambda: api.get(f"/v1/jobs/{of.job_id}").json()["status"] == "completed", 20)
    return of.job_id


def test_the_link_gives_the_bytes_and_opens_no_other_object(api: httpx2.Client, done: str) -> None:
    answer = api.get(f"/v1/jobs/{done}/video")
    assert answer.status_code == 307
    link = answer.headers["location"]
    content = httpx2.get(link)
    assert content.content == VIDEO
    assert content.headers["content-type"] == "video/mp4"
    assert httpx2.get(link.replace("/videos/", "/claims/")).status_code == 403
    assert "X-Amz-Expires=300" in link


def test_a_link_asked_for_while_another_works_is_told_to_the_audit_topic(
    edge: EdgeStack, log: Log, api: httpx2.Client
) -> None:
    of = job()
    log.write(happened(of, "Admitted", "Completed"))
    path = f"/v1/jobs/{of.job_id}/video"
    until(lambda: api.get(path, params={"delivery": "stream"}).status_code != 404, 20)

    def told() -> list[AuditEvent]:
        found = [r.value for r in records(edge, edge.topics.audit, AuditEvent)]
        return [e for e in found if (e.kind, e.subject) == ("link.reissued", of.job_id)]

    assert api.get(path).status_code == 307
    edge.sql("UPDATE issued_links SET valid_until = now()")
    assert api.get(path).status_code == 307
    assert edge.sql("SELECT 1 FROM audit_outbox WHERE kind = 'link.reissued'") == []
    assert told() == []
    for _ in range(3):
        assert api.get(path).status_code == 307
    until(lambda: bool(told()))
    [event] = told()
    assert (event.outcome, event.tenant_id) == ("seen", "default")


def test_streamed_it_supports_ranges_and_etags(api: httpx2.Client, done: str) -> None:
    path = f"/v1/jobs/{done}/video?delivery=stream"
    whole = api.get(path)
    assert (whole.status_code, whole.content) == (200, VIDEO)
    tag = whole.headers["etag"]
    assert tag == f'"{hashlib.sha256(VIDEO).hexdigest()}"'
    assert whole.headers["content-length"] == str(len(VIDEO))
    for wanted, expected in (
        ("bytes=0-9", VIDEO[:10]),
        ("bytes=1000-", VIDEO[1000:]),
        ("bytes=-7", VIDEO[-7:]),
    ):
        part = api.get(path, headers={"Range": wanted})
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["content-range"].endswith(f"/{len(VIDEO)}")
    assert api.get(path, headers={"If-None-Match": tag}).status_code == 304
    stale = api.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (stale.status_code, len(stale.content)) == (200, len(VIDEO))
    beyond = api.get(path, headers={"Range": f"bytes={len(VIDEO)}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert api.get(path, headers={"Range": "bytes=0-1,3-4"}).status_code == 200


def test_a_job_without_a_video_says_so(api: httpx2.Client) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "x"}).json()["id"]
    answer = api.get(f"/v1/jobs/{job_id}/video")
    assert (answer.status_code, answer.json()["code"]) == (409, "video_not_ready")


def test_a_video_that_is_gone_from_the_store_is_a_clear_error(api: httpx2.Client, log: Log) -> None:
    of = job()
    log.write(happened(of, "Admitted", "Completed", artifact_=artifact("videos/lost.mp4")))
    until(lambda: api.get(f"/v1/jobs/{of.job_id}").status_code == 200, 20)
    answer = api.get(f"/v1/jobs/{of.job_id}/video?delivery=stream")
    assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
