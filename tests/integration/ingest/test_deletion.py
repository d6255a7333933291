from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.provision import object_store
from ingest.db import engine
from ingest.read_model import Placed, job_columns
from ingest.store import erasures
from ingest.tables import PROJECTED, jobs, timeline
from ingest.worker.feed import Happened
from ingest.worker.projection import _upsert, apply
from schemas.records import Job
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.receiver import Receiver
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

#: Stands in every field that the owner fills in; nothing may hold it once the job is deleted.
CANARY = "canary-7f3a"
FOLDERS = ("videos", "checkpoints", "previews")


@pytest.fixture
def owner(edge: EdgeStack) -> Iterator[tuple[str, httpx2.Client]]:
    """A tenant of its own, and its client."""
    tenant = f"owner-{uuid.uuid4().hex[:8]}"
    with edge.client(add_key(edge, tenant)) as client:
        yield tenant, client


def filled(edge: EdgeStack, tenant: str, of: str) -> list[str]:
    """Objects where those of a job lie; their keys."""
    store = object_store(edge.settings)
    keys = [f"{folder}/{tenant}/{of}/inc/{n}.json" for folder in FOLDERS for n in range(2)]
    keys.append(f"videos/{tenant}/{of}/inc/1-1.mp4")
    for key in keys:
        store.put_object(edge.settings.s3_bucket, key, io.BytesIO(b"x"), 1)
    return keys


def objects(edge: EdgeStack, tenant: str) -> set[str | None]:
    """What is there of a tenant."""
    store = object_store(edge.settings)
    return {
        item.object_name
        for folder in FOLDERS
        for item in store.list_objects(edge.settings.s3_bucket, f"{folder}/{tenant}/", True)
    }


def said(edge: EdgeStack) -> list[str]:
    """The tables in which the canary lies."""
    names = ("jobs", "job_events", "webhook_deliveries", "erasures", "audit_outbox")
    query = "SELECT 1 FROM {0} WHERE {0}::text LIKE '%{1}%' LIMIT 1"
    return [name for name in names if edge.sql(query.format(name, CANARY))]


def spoken(tenant: str, job_id: str, webhook_url: str | None) -> Job:
    """The admitted job, with the canary wherever its owner speaks."""
    of = job(job_id, tenant, metadata={"k": CANARY}, webhook_url=webhook_url)
    spec = of.spec.model_copy(update={"prompt": CANARY, "negative_prompt": CANARY})
    return of.model_copy(update={"spec": spec})


def body(webhook_url: str) -> dict[str, object]:
    return {
        "prompt": CANARY,
        "negative_prompt": CANARY,
        "metadata": {"k": CANARY},
        "webhook_url": webhook_url,
    }


def test_a_deleted_job_is_cancelled_and_erased_everywhere_and_a_replay_brings_nothing_back(
    edge: EdgeStack, owner: tuple[str, httpx2.Client], log: Log
) -> None:
    tenant, api = owner
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with Receiver() as told, Receiver() as own:
        assert api.post("/v1/webhooks", json={"url": told.url}).status_code == 201
        url = f"{own.url}?{CANARY}"
        made = api.post("/v1/jobs", json=body(url), headers=key).json()
        path = f"/v1/jobs/{made['id']}"
        of = spoken(tenant, made["id"], url)
        log.write(happened(of, "Admitted", "Started"))
        until(lambda: api.get(path).json()["status"] == "processing", 20)
        keys = filled(edge, tenant, made["id"])

        gone = api.delete(path)
        assert (gone.status_code, gone.json()["object"]) == (202, "job.deleted")
        assert said(edge) == []
        for asked in (api.get(path), api.get(f"{path}/timeline"), api.post(f"{path}/cancel")):
            assert (asked.status_code, asked.json()["code"]) == (404, "job_deleted")
        assert api.get("/v1/jobs").json()["data"] == []
        again = api.post("/v1/jobs", json=body(url), headers=key)
        assert (again.status_code, again.json()["code"]) == (409, "job_conflict")
        # Its slot may still write: nothing is deleted before the end is in the log.
        assert objects(edge, tenant) == set(keys)
        assert api.delete(path).json() == gone.json()

        log.write(happened(of, "Admitted", "Started", "Cancelled")[2:])
        until(lambda: objects(edge, tenant) == set(), 30)
        [delivery] = told.await_deliveries(1)
        assert CANARY not in delivery.body.decode()
        assert json.loads(delivery.body)["data"]["id"] == made["id"]
        assert own.deliveries == []
    assert said(edge) == []
    rows = edge.sql("SELECT status, cancel_requested_at FROM jobs WHERE tenant_id = $1", tenant)
    assert rows[0]["status"] == "cancelled"
    assert rows[0]["cancel_requested_at"] is not None


def test_a_replay_from_zero_leaves_deleted_jobs_deleted(edge: EdgeStack) -> None:
    """The projection is played by hand: the row is there, is deleted, is lost, and comes again."""
    of = spoken(f"replay-{uuid.uuid4().hex[:8]}", str(uuid.uuid4()), "https://example.org/hook")
    events = happened(of, "Admitted", "Started", "Completed")
    batch = [Happened(event, 9, n, None) for n, event in enumerate(events)]
    job_id = uuid.UUID(of.job_id)

    async def run() -> None:
        database = engine(edge.settings, 1)
        async with database.begin() as connection:
            await apply(connection, batch[:2])
        async with database.begin() as connection:
            now = datetime.now(UTC)
            assert await erasures.delete_job(connection, of.tenant_id, job_id, now, 60.0)
        async with database.begin() as connection:
            await apply(connection, batch[2:])
        first = await row(database)
        # A batch that was read before the deletion and is written after it.
        late = job_columns(Placed(events[2], 9, 9)) | {"video_expires_at": None, "deleted_at": None}
        async with database.begin() as connection:
            reopened = update(jobs).where(jobs.c.job_id == job_id).values(completed_at=None)
            await connection.execute(reopened)
            await connection.execute(_upsert(), [late])
        assert {name: (await row(database))[name] for name in erasures.SAID} == erasures.SAID
        async with database.begin() as connection:
            await connection.execute(delete(jobs).where(jobs.c.job_id == job_id))
            await connection.execute(delete(timeline).where(timeline.c.job_id == job_id))
            await apply(connection, batch)
        assert await row(database) == first
        await database.dispose()
        assert first["status"] == "completed"
        assert first["deleted_at"] is not None

    async def row(database: AsyncEngine) -> dict[str, Any]:
        columns = [jobs.c[name] for name in (*PROJECTED, "deleted_at")]
        async with database.begin() as connection:
            found = await connection.execute(select(*columns).where(jobs.c.job_id == job_id))
            return dict(found.mappings().one())

    asyncio.run(run())
    assert said(edge) == []


def test_only_the_owner_deletes_and_a_viewer_does_not(
    edge: EdgeStack, api: httpx2.Client, owner: tuple[str, httpx2.Client]
) -> None:
    made = api.post("/v1/jobs", json={"prompt": "mine"}).json()["id"]
    path = f"/v1/jobs/{made}"
    assert owner[1].delete(path).status_code == 404
    with edge.client(add_key(edge, "default", "viewer")) as viewer:
        assert viewer.delete(path).status_code == 403
    assert api.get(path).status_code == 200
    assert api.delete(path).status_code == 202
    events = edge.sql("SELECT kind FROM audit_outbox WHERE subject = $1", made)
    assert [event["kind"] for event in events] in ([], ["job.deleted"])  # told, or about to be
    assert owner[1].get(path).json()["code"] == "not_found"


def test_a_video_is_kept_as_long_as_its_job_asks_and_then_says_so(
    edge: EdgeStack, owner: tuple[str, httpx2.Client], log: Log
) -> None:
    tenant, api = owner
    # Its event lies in the past; one job's time is over, the other's is not.
    ended = datetime.now(UTC) - timedelta(seconds=120)
    ids = {}
    for keep in (60, 3600):
        of = job(tenant_id=tenant).model_copy(update={"retention_s": keep})
        key = f"videos/{tenant}/{of.job_id}/inc/1-1.mp4"
        filled(edge, tenant, of.job_id)
        video = artifact(key, 1, edge.settings.s3_bucket)
        events = happened(of, "Admitted", "Completed", artifact_=video)
        log.write([event.model_copy(update={"occurred_at": ended}) for event in events])
        ids[keep] = of.job_id
        until(lambda of=of: api.get(f"/v1/jobs/{of.job_id}").status_code == 200, 20)  # type: ignore[misc]
    kept, lost = (f"/v1/jobs/{ids[keep]}" for keep in (3600, 60))
    until(lambda: all(ids[60] not in str(name) for name in objects(edge, tenant)), 30)
    assert any(ids[3600] in str(name) for name in objects(edge, tenant))
    for path in (f"{lost}/video", f"{lost}/manifest"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (410, "video_expired")
    shown = api.get(lost).json()
    assert shown["video_expires_at"] < datetime.now(UTC).isoformat()
    assert shown["links"]["video"] is None
    assert shown["artifact"]["size"] == 1
    assert api.get(f"{kept}/video").status_code == 307
    assert api.get(kept).json()["links"]["video"] == f"{kept}/video"
