from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from schemas.codec import codec
from schemas.records import JobProgress
from tests.integration.ingest.edge_stack import EdgeStack, Process
from tests.integration.ingest.log import Log
from tests.support.sse import Reader
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack

WHOLE = ("Admitted", "Scheduled", "Started", "Retrying", "Scheduled", "Started", "Completed")
#: No partition of the topic: rows of it are a test's own.
SPARE = 99


@pytest.fixture(scope="module")
def second(edge: EdgeStack) -> Iterator[tuple[Process, httpx2.Client]]:
    """Another replica, with narrow limits; the last test stops it."""
    process, client = edge.api({"TTV_STREAMS_PER_TENANT": "3"})
    yield process, client
    process.stop()


def tenant_client(edge: EdgeStack, role: str = "creator") -> tuple[str, httpx2.Client, str]:
    """A new tenant with a key: its name, a client, and the key's id."""
    tenant, key, key_id = f"t-{uuid.uuid4().hex[:8]}", f"ttv_{uuid.uuid4().hex}", uuid.uuid4()
    edge.sql(
        "INSERT INTO api_keys (key_hash, key_id, tenant_id, role) "
        "VALUES (sha256($1::text::bytea), $2, $3, $4)",
        key,
        key_id,
        tenant,
        role,
    )
    return tenant, edge.client(key), str(key_id)


def on(edge: EdgeStack, client: httpx2.Client, replica: httpx2.Client) -> httpx2.Client:
    """The same caller at another replica."""
    key = client.headers["authorization"].removeprefix("Bearer ")
    return edge.client(key, str(replica.base_url))


def timeline(edge: EdgeStack, tenant: str) -> list[str]:
    """The tenant's events in the read model."""
    found = edge.sql("SELECT event_id FROM job_events WHERE tenant_id = $1", tenant)
    return sorted(row["event_id"] for row in found)


def ids(reader: Reader) -> list[str]:
    return [event.data["id"] for event in reader.events]


def add_events(edge: EdgeStack, tenant: str, first: int, count: int, job_id: uuid.UUID) -> None:
    """Commit events as the projection does, in a partition of their own, without a notification."""
    edge.sql(
        'INSERT INTO job_events (partition, "offset", job_id, tenant_id, event_id, kind, status, '
        "attempt, occurred_at) SELECT $1::int, n, $2::uuid, $3::text, $3 || n, 'Started', "
        "'processing', 1, now() FROM generate_series($4::bigint, $4 + $5::bigint - 1) n",
        SPARE,
        job_id,
        tenant,
        first,
        count,
    )
    edge.sql(
        "INSERT INTO feed_offsets VALUES ('projection', $1, $2, $3) ON CONFLICT "
        "(feed, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
        edge.topics.events,
        SPARE,
        first + count,
    )


def test_a_client_that_comes_back_to_any_replica_gets_every_event_once_and_in_order(
    edge: EdgeStack, log: Log, second: tuple[Process, httpx2.Client]
) -> None:
    tenant, client, _ = tenant_client(edge)
    replicas = [client, on(edge, client, second[1])]
    jobs = [job(tenant_id=tenant) for _ in range(12)]
    foreign = job(tenant_id="somebody-else")
    with Reader(client, "/v1/events") as reader:
        reader.wait_opened()
        place = reader.last_id
    seen: list[Any] = []
    for n in range(len(WHOLE)):
        # Some events come while nobody listens, some while one does; each round another replica.
        batch = [happened(of, *WHOLE)[n] for of in [*jobs, foreign]]
        log.write(batch[:6])
        with Reader(replicas[n % 2], "/v1/events", place) as reader:
            log.write(batch[6:])
            reader.wait(len(jobs) - len(seen) % len(jobs) if n % 3 else 5)
        seen += reader.events
        place = reader.last_id
    with Reader(replicas[0], "/v1/events", place) as reader:
        until(lambda: len(seen) + len(reader.events) >= len(WHOLE) * len(jobs), 20)
        seen += reader.events
    assert sorted(event.data["id"] for event in seen) == timeline(edge, tenant)
    for of in jobs:
        kinds = [event.name for event in seen if event.data["job_id"] == of.job_id]
        assert kinds == list(WHOLE)


def test_a_jobs_stream_tells_its_whole_story_and_ends_with_it(
    edge: EdgeStack, log: Log, second: tuple[Process, httpx2.Client]
) -> None:
    tenant, client, _ = tenant_client(edge)
    job_id = client.post("/v1/jobs", json={"prompt": "a fox"}).json()["id"]
    path = f"/v1/jobs/{job_id}/events"
    story = happened(job(job_id, tenant_id=tenant), *WHOLE)
    with Reader(client, path) as reader:
        assert reader.content_type.startswith("text/event-stream")
        log.write(story[:3])
        reader.wait(3)
    with Reader(on(edge, client, second[1]), path, reader.last_id) as rest:
        log.write(story[3:])
        assert rest.wait_ended() == "clean"
    assert [e.name for e in reader.events + rest.events] == list(WHOLE)
    assert rest.events[-1].data["status"] == "completed"
    # An EventSource that comes back after the end is told to stay away.
    done = client.get(path, headers={"Last-Event-ID": str(rest.last_id)})
    assert (done.status_code, done.content) == (204, b"")
    with Reader(client, path) as again:
        assert again.wait_ended() == "clean"
    assert [e.name for e in again.events] == list(WHOLE)


def test_progress_is_streamed_and_a_reconnect_does_not_repeat_it(edge: EdgeStack, log: Log) -> None:
    tenant, client, _ = tenant_client(edge)
    of = job(tenant_id=tenant)
    log.write(happened(of, "Admitted", "Scheduled", "Started"))
    path = f"/v1/jobs/{of.job_id}/events"
    until(lambda: client.get(f"/v1/jobs/{of.job_id}").status_code == 200, 20)

    def at(step: int) -> None:
        report = JobProgress(
            job_id=of.job_id,
            tenant_id=tenant,
            attempt=1,
            slot=0,
            phase="denoising",
            step=step,
            total=64,
            eta_s=9.5,
        )
        topic = edge.topics.progress
        log.write_raw(topic, of.job_id, codec(edge.settings.registry).encode(topic, report))

    with Reader(client, path) as reader, Reader(client, "/v1/events") as all_jobs:
        reader.wait(3)
        all_jobs.wait_opened()
        at(7)
        told = reader.wait(4)[3]
        assert (told.name, told.data["step"], told.data["eta_s"]) == ("progress", 7, 9.5)
        told = all_jobs.wait(1)[0]
        # The place of a tenant's stream is its place in the log alone.
        assert (told.name, told.data["job_id"], told.id) == ("progress", of.job_id, None)
    with Reader(client, path, reader.last_id) as again:
        at(8)
        assert [e.data["step"] for e in again.wait(1)] == [8]


def test_a_stream_needs_no_notification(edge: EdgeStack) -> None:
    tenant, client, _ = tenant_client(edge)
    with Reader(client, "/v1/events") as reader:
        reader.wait_opened()
        add_events(edge, tenant, 1000, 3, uuid.uuid4())
        reader.wait(3)
    assert ids(reader) == [f"{tenant}{n}" for n in (1000, 1001, 1002)]


def test_a_revoked_keys_streams_end_and_show_nothing_more(edge: EdgeStack) -> None:
    tenant, client, key_id = tenant_client(edge, "viewer")
    with Reader(client, "/v1/events") as reader, Reader(client, "/v1/events") as other:
        reader.wait_opened()
        other.wait_opened()
        edge.sql("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1", uuid.UUID(key_id))
        for each in (reader, other):
            each.wait_ended(10)
        add_events(edge, tenant, 2000, 1, uuid.uuid4())
    assert ids(reader) == ids(other) == []
    back = client.get("/v1/events", headers={"Last-Event-ID": str(reader.last_id)})
    assert back.status_code == 401


def test_an_id_of_another_tenant_or_of_nobody_and_a_foreign_job_are_refused(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    _, client, _ = tenant_client(edge)
    with Reader(client, "/v1/events") as reader:
        reader.wait_opened()
    for last in (str(reader.last_id), "x", "A" * 5000):
        refused = api.get("/v1/events", headers={"Last-Event-ID": last})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    mine = api.post("/v1/jobs", json={"prompt": "mine"}).json()["id"]
    for job_id in (mine, str(uuid.uuid4()), "no-uuid"):
        assert client.get(f"/v1/jobs/{job_id}/events").status_code == 404


def test_a_tenant_has_a_bounded_number_of_streams(
    edge: EdgeStack, second: tuple[Process, httpx2.Client]
) -> None:
    _, client, _ = tenant_client(edge)
    there = on(edge, client, second[1])
    open_ones = [Reader(there, "/v1/events") for _ in range(3)]
    for reader in open_ones:
        reader.wait_opened()
    refused = there.get("/v1/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert int(refused.headers["retry-after"]) >= 1
    open_ones[0].close()

    def admitted() -> bool:
        with there.stream("GET", "/v1/events") as answer:
            return answer.status_code == 200

    until(admitted, 10)
    for reader in open_ones:
        reader.close()


@pytest.mark.strike
def test_a_client_that_does_not_read_is_cut_off_and_misses_nothing(edge: EdgeStack) -> None:
    tenant, client, _ = tenant_client(edge)
    with Reader(client, "/v1/events") as start:
        start.wait_opened()
    many = 20_000
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(30)
        slow.connect((client.base_url.host, client.base_url.port or 80))
        head = {**client.headers, "Host": "x", "Last-Event-ID": str(start.last_id)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        slow.sendall(f"GET /v1/events HTTP/1.1\r\n{lines}\r\n".encode())
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        add_events(edge, tenant, 10_000, many, uuid.uuid4())
        # While it is stuck, who reads is served.
        with Reader(client, "/v1/events", start.last_id) as quick:
            quick.wait(many, 60)
        rest = slow.makefile("rb").read()
    wanted = [f"{tenant}{n}" for n in range(10_000, 10_000 + many)]
    assert ids(quick) == wanted
    # The last event may have been cut off in its middle: it counts as not received.
    whole = re.findall(rb"\nid: (.+)\n\n", rest)
    got = len(whole)
    assert 0 < got < many
    with Reader(client, "/v1/events", whole[-1].decode()) as again:
        again.wait(many - got, 60)
    assert ids(again) == wanted[got:]


def test_a_stop_ends_streams_at_once(
    edge: EdgeStack, second: tuple[Process, httpx2.Client]
) -> None:
    process, replica = second
    _, client, _ = tenant_client(edge)
    with Reader(on(edge, client, replica), "/v1/events") as reader:
        reader.wait_opened()
        process.stop()
        assert reader.wait_ended(1) == "clean"
