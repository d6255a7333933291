"""``/v1/videos`` and previews on the wire: what no well-behaved client sends, and what races."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx2
import pytest

from infra.provision import object_store
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.mp4 import greys, mp4
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

RETRY = "x-stainless-retry-count"
#: Parts of a form that an honest client sends.
FORM = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--b--\r\n'


def error(answer: httpx2.Response, status: int, code: str, param: str | None = None) -> None:
    """The answer is an error of OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    assert (found["error"]["code"], found["error"]["param"]) == (code, param)


def create(api: httpx2.Client, prompt: str, retries: int = 0, **headers: str) -> str:
    sent = {RETRY: str(retries)} | headers
    answer = api.post("/v1/videos", json={"prompt": prompt}, headers=sent)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def completed(edge: EdgeStack, log: Log, video: bytes, frames: int = 7, **fields: Any) -> str:
    """A completed job of the default tenant with this video."""
    of = job()
    key = f"videos/default/{of.job_id}/life/1-1.mp4"
    bucket = edge.settings.s3_bucket
    object_store(edge.settings).put_object(bucket, key, io.BytesIO(video), len(video))
    said = {"sha256": hashlib.sha256(video).hexdigest(), "frames": frames} | fields
    made = artifact(key, len(video), bucket).model_copy(update=said)
    log.write(happened(of, "Admitted", "Completed", artifact_=made))
    until(lambda: bool(rows(edge, of.job_id)), 20)
    return of.job_id


def rows(edge: EdgeStack, job_id: str) -> list[dict[str, Any]]:
    query = "SELECT 1 FROM jobs WHERE job_id = $1 AND status = 'completed'"
    return edge.sql(query, uuid.UUID(job_id))


def previews(edge: EdgeStack, job_id: str) -> list[str]:
    """What is stored of a job's pictures."""
    store, prefix = object_store(edge.settings), f"previews/default/{job_id}/"
    found = store.list_objects(edge.settings.s3_bucket, prefix, recursive=True)
    return sorted(str(item.object_name).removeprefix(prefix) for item in found)


def test_a_retry_is_the_first_ones_job_and_a_new_create_is_not(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    prompt = uuid.uuid4().hex
    first = create(api, prompt)
    assert create(api, prompt, 1) == create(api, prompt, 2) == first
    second = create(api, prompt)
    assert second != first
    assert create(api, prompt, 1) == second, "a retry is that of the newest"
    assert create(api, prompt + ".", 1) not in {first, second}
    with edge.client(add_key(edge, "default")) as other:
        assert create(other, prompt, 1) not in {first, second}
    answer = api.post(
        "/v1/videos", headers={RETRY: "3"}, files={"_": ("", b"")}, data={"prompt": prompt}
    )
    error(answer, 400, "unknown_field", "_")


def test_a_form_and_json_of_one_meaning_have_one_digest(api: httpx2.Client) -> None:
    prompt = uuid.uuid4().hex
    first = api.post("/v1/videos", json={"prompt": prompt, "seed": 7, "seconds": 4}).json()["id"]
    fields = {"prompt": prompt, "seed": "7", "seconds": "4", "model": "mochi-1"}
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    sent = {RETRY: "1", "content-type": "multipart/form-data; boundary=b"}
    again = api.post("/v1/videos", content=f"{body}--b--\r\n", headers=sent)
    assert again.json()["id"] == first


def test_parallel_creates_and_their_retries_stay_as_many(api: httpx2.Client) -> None:
    prompt = uuid.uuid4().hex
    made = [create(api, prompt) for _ in range(3)]
    assert sorted(create(api, prompt, 1) for _ in range(3)) == sorted(made)
    assert create(api, prompt, 1) not in made, "its first one never came"


def test_a_retry_after_the_window_is_a_new_video(edge: EdgeStack, api: httpx2.Client) -> None:
    prompt = uuid.uuid4().hex
    first = create(api, prompt)
    edge.sql("UPDATE video_creates SET created_at = created_at - interval '11 minutes'")
    assert create(api, prompt, 1) != first
    (left,) = edge.sql("SELECT count(*) FROM video_creates WHERE job_id = $1", uuid.UUID(first))
    for _ in range(200):
        if not left["count"]:
            break
        create(api, uuid.uuid4().hex)
        query = "SELECT count(*) FROM video_creates WHERE job_id = $1"
        (left,) = edge.sql(query, uuid.UUID(first))
    assert left["count"] == 0, "old rows go as new ones come"


def test_a_first_request_that_its_retry_overtook_takes_the_retrys_job(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    prompt = uuid.uuid4().hex
    body = json.dumps({"prompt": prompt}).encode()
    head = (
        f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.key}\r\n{RETRY}: 0\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as slow:
        slow.sendall(head.encode() + body[:5])
        # An answer to a later request says that the first one's head was read.
        assert api.get("/healthz").status_code == 200
        retried = create(api, prompt, 1)
        slow.sendall(body[5:])
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["id"] == retried
    assert create(api, prompt) != retried, "what comes later is another one"


async def test_a_retry_waits_for_the_first_one_that_is_being_committed(edge: EdgeStack) -> None:
    prompt = uuid.uuid4().hex
    _, other = edge.api()
    held = await asyncpg.connect(dsn=edge.env["TTV_POSTGRES"], timeout=10)
    addresses = [f"http://127.0.0.1:{edge.port}", str(other.base_url)]
    headers = {"authorization": f"Bearer {edge.key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client:

        async def ask(address: str, retries: int) -> str:
            sent = {RETRY: str(retries)}
            url = f"{address.rstrip('/')}/v1/videos"
            answer = await client.post(url, json={"prompt": prompt}, headers=sent)
            return str(answer.json()["id"])

        async with held.transaction():
            await held.execute("LOCK TABLE jobs IN SHARE MODE")
            first = asyncio.create_task(ask(addresses[0], 0))
            await _waiting(held, 1)
            retry = asyncio.create_task(ask(addresses[1], 1))
            await _waiting(held, 2)
        assert await first == await retry
    query = "SELECT count(*) FROM jobs WHERE spec->>'prompt' = $1"
    assert await held.fetchval(query, prompt) == 1
    await held.close()


async def _waiting(held: Any, sessions: int) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while await held.fetchval(query) < sessions:  # noqa: ASYNC110 another process's state
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (b"--b", "multipart/form-data; boundary=b", 400, "malformed_body"),
        (FORM[:-9], "multipart/form-data; boundary=b", 400, "malformed_body"),
        (FORM, "multipart/form-data", 400, "malformed_body"),
        (FORM, "multipart/form-data; boundary=c", 400, "malformed_body"),
        (
            FORM.replace(b"x\r\n", b"\xff\r\n"),
            "multipart/form-data; boundary=b",
            400,
            "malformed_body",
        ),
        (
            FORM.replace(b"x", b"x" * 70_000, 1),
            "multipart/form-data; boundary=b",
            413,
            "body_too_large",
        ),
        (FORM[:-9] * 70, "multipart/form-data; boundary=b", 400, "malformed_body"),
        (b"prompt=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"prompt": NaN}', "application/json", 400, "malformed_body"),
    ],
)
def test_a_body_that_is_none_is_refused_in_the_shape_of_the_api(
    api: httpx2.Client, body: bytes, media: str, status: int, code: str
) -> None:
    error(api.post("/v1/videos", content=body, headers={"content-type": media}), status, code)


def test_every_error_below_the_path_has_the_shape_of_the_api(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    error(api.get("/v1/videos/x/y/z"), 404, "not_found")
    error(api.get("/v1/videos/not-a-uuid"), 404, "not_found")
    error(api.delete("/v1/videos/00000000-0000-4000-8000-000000000000"), 404, "not_found")
    error(api.put("/v1/videos"), 405, "method_not_allowed")
    error(api.get("/v1/videos?limit=101"), 400, "invalid", "limit")
    error(api.get("/v1/videos?order=up"), 400, "invalid", "order")
    error(api.get("/v1/videos?after=nothing"), 404, "invalid_cursor", "after")
    error(api.post("/v1/videos", content=b""), 415, "unsupported_media_type")
    for path in ("edits", "extensions", "characters", "x/remix"):
        error(api.post(f"/v1/videos/{path}", json={"prompt": "x"}), 404, "unsupported")
        if path != "x/remix":
            error(api.get(f"/v1/videos/{path}"), 405, "method_not_allowed")
    error(api.get("/v1/videos?after=batch"), 404, "invalid_cursor", "after")
    error(api.get("/v1/videos/characters/x"), 404, "unsupported")
    with edge.client(add_key(edge, "default", "viewer")) as viewer:
        error(viewer.post("/v1/videos", json={"prompt": "x"}), 403, "forbidden")
        assert viewer.get("/v1/videos").status_code == 200
    with httpx2.Client(base_url=f"http://127.0.0.1:{edge.port}", timeout=30) as nobody:
        for method, path in (("GET", "/v1/videos"), ("POST", "/v1/videos/edits")):
            error(nobody.request(method, path), 401, "unauthenticated")


def test_lists_are_bounded_and_a_tenants_own(edge: EdgeStack, api: httpx2.Client) -> None:
    made = create(api, uuid.uuid4().hex)
    none = api.get("/v1/videos?limit=0").json()
    assert (none["data"], none["last_id"], none["has_more"]) == ([], None, True)
    with edge.client(add_key(edge, f"list-{uuid.uuid4().hex[:8]}")) as other:
        assert other.get("/v1/videos").json()["data"] == []
        error(other.get(f"/v1/videos?after={made}"), 404, "invalid_cursor", "after")
        error(other.get(f"/v1/videos/{made}"), 404, "not_found")
        error(other.get(f"/v1/videos/{made}/content"), 404, "not_found")
        error(other.delete(f"/v1/videos/{made}"), 404, "not_found")


def test_a_job_of_either_api_is_a_video_and_says_when_to_ask_again(api: httpx2.Client) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "x", "num_frames": 31}).json()["id"]
    answer = api.get(f"/v1/videos/{job_id}")
    assert (answer.json()["seconds"], answer.json()["links"]["job"]) == (
        *("1", f"/v1/jobs/{job_id}"),
    )
    assert answer.headers["openai-poll-after-ms"] == "1000"
    assert api.get(f"/v1/jobs/{create(api, 'x')}").json()["status"] == "pending"


def test_a_picture_is_made_once_stored_and_the_same_in_both_apis(
    edge: EdgeStack, log: Log, api: httpx2.Client
) -> None:
    job_id = completed(edge, log, mp4(7))
    assert previews(edge, job_id) == []
    sheet = api.get(f"/v1/jobs/{job_id}/spritesheet")
    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "image/jpeg")
    assert all(abs(a - 7 * n) <= 6 for n, a in enumerate(greys(sheet.content, 160, 160)[:7]))
    thumbnail = api.get(f"/v1/jobs/{job_id}/thumbnail")
    assert abs(greys(thumbnail.content, 64, 64)[0] - 21) <= 6
    stored = previews(edge, job_id)
    assert [name.partition("-")[0] for name in stored] == ["spritesheet", "thumbnail"]
    key = f"previews/default/{job_id}/{stored[1]}"
    object_store(edge.settings).put_object(edge.settings.s3_bucket, key, io.BytesIO(b"mark"), 4)
    again = api.get(f"/v1/videos/{job_id}/content?variant=thumbnail")
    assert (again.content, again.headers["etag"]) == (b"mark", thumbnail.headers["etag"])
    known = {"If-None-Match": thumbnail.headers["etag"]}
    assert api.get(f"/v1/jobs/{job_id}/thumbnail", headers=known).status_code == 304


def test_videos_of_which_no_picture_can_be_made_say_so(
    edge: EdgeStack, log: Log, api: httpx2.Client
) -> None:
    whole = mp4(7)
    broken = completed(edge, log, whole[: len(whole) // 2])
    other = completed(edge, log, whole, sha256="ab" * 32)
    for job_id in (broken, other):
        answer = api.get(f"/v1/jobs/{job_id}/thumbnail")
        assert (answer.status_code, answer.json()["code"]) == (500, "preview_failed")
    answer = api.get(f"/v1/videos/{other}/content?variant=spritesheet")
    error(answer, 500, "preview_failed")
    assert answer.headers["x-should-retry"] == "false"
    waiting = create(api, "x")
    answer = api.get(f"/v1/jobs/{waiting}/thumbnail")
    assert (answer.status_code, answer.json()["code"]) == (409, "video_not_ready")
    error(api.get(f"/v1/videos/{waiting}/content?variant=thumbnail"), 409, "video_not_ready")


def test_the_video_itself_supports_ranges_and_never_redirects(
    edge: EdgeStack, log: Log, api: httpx2.Client
) -> None:
    video = mp4(7)
    path = f"/v1/videos/{completed(edge, log, video)}/content"
    part = api.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    tag = f'"{hashlib.sha256(video).hexdigest()}"'
    assert part.headers["etag"] == tag
    assert api.get(path, headers={"If-None-Match": tag}).status_code == 304
    beyond = api.get(path, headers={"Range": f"bytes={len(video)}-"})
    error(beyond, 416, "range_not_satisfiable")
    assert _redirects([api.get(path), part]) == []


def _redirects(answers: Sequence[httpx2.Response]) -> list[int]:
    return [a.status_code for a in answers if a.is_redirect]
