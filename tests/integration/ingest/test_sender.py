from __future__ import annotations

import asyncio
import base64
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from infra.settings import Settings
from infra.stack.services import environment
from ingest.db import migrate
from ingest.store import webhooks
from ingest.store.deliveries import DISABLED, GONE, MAX_TRIES
from ingest.webhooks import connect
from ingest.webhooks.sealing import Keyring
from ingest.worker.attempt import MAX_ANSWER
from ingest.worker.places import PER_LANE, PER_TENANT
from tests.integration.ingest.edge_stack import _sql
from tests.integration.ingest.receivers import (
    GOOD,
    NO_CONTENT,
    Server,
    answering,
    babbles,
    closes,
    drips,
    endless,
    never_answers,
    serve,
    status,
)
from tests.integration.ingest.sending import Sending, come, sending, stored

if TYPE_CHECKING:
    from infra.stack import Stack

pytestmark = pytest.mark.stack

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]


@pytest.fixture(scope="module")
def servers(stack: Stack) -> str:
    return environment(stack.info)["TTV_POSTGRES"]


@pytest.fixture(scope="module")
def settings(servers: str) -> Iterator[Settings]:
    name = f"sender{uuid.uuid4().hex[:8]}"
    asyncio.run(_sql(servers, f"CREATE DATABASE {name}", ()))
    made = Settings.model_validate(
        {
            "postgres": f"{servers.rsplit('/', 1)[0]}/{name}",
            "webhook_allow_private": True,
            "webhook_timeout": 3.0,
            "webhook_secret": SECRET,
            "secrets_key": KEYS[0],
        }
    )
    migrate(made)
    yield made
    asyncio.run(_sql(servers, f"DROP DATABASE {name} WITH (FORCE)", ()))


@pytest.fixture
async def due(settings: Settings) -> AsyncIterator[Sending]:
    async with sending(settings) as made:
        yield made
        # The next test's sender finds nothing of this one.
        await made.sql("DELETE FROM webhook_deliveries")


async def test_hostile_receivers_delay_nobody_and_each_end_is_told(
    due: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []

    def recorded(info: Any) -> socket.socket:
        reached.append(info[4][0])
        return socket.socket(info[0], info[1], info[2])

    monkeypatch.setattr(connect, "_plain", recorded)
    moved = answering(status("302 Found", "Location: http://169.254.169.254/latest/meta-data"))
    behaviours = {
        "timeout": never_answers,
        "slow headers": drips(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        "slow body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 3600\r\n\r\n"),
        "redirect": moved,
        "endless": endless,
        "disconnected": closes,
        "babble": babbles,
        "many headers": drips(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000),
    }
    async with AsyncExitStack() as stack:
        hostile = {
            name: await stack.enter_async_context(serve(behaviour))
            for name, behaviour in behaviours.items()
        }
        ids = {name: (await due.due(server.url, 20))[0] for name, server in hostile.items()}
        await stack.enter_async_context(due.sender())
        hung = hostile["timeout"]
        await come(lambda: hung.open == PER_LANE)
        quick = [await stack.enter_async_context(serve(GOOD, SECRET)) for _ in range(5)]
        for server in quick:
            await due.due(server.url, 40)
        await come(lambda: all(len(server.ids) == 40 for server in quick))
        # All that while, those that hang were given what they can take, and no more.
        assert len(hung.ids) <= 2 * PER_LANE
        await due.tried(*ids.values())
        rows = {name: await due.row(delivery) for name, delivery in ids.items()}
    told = {name: (row["last_status"], row["last_error"]) for name, row in rows.items()}
    assert told == {
        "timeout": (None, "timeout"),
        "slow headers": (None, "timeout"),
        "slow body": (200, None),
        "redirect": (302, "redirect"),
        "endless": (200, None),
        "disconnected": (None, "disconnected"),
        "babble": (None, "malformed_answer"),
        "many headers": (None, "malformed_answer"),
    }
    # What the kernel holds on both sides is sent beside what is read.
    assert hostile["endless"].sent < hostile["endless"].connections * (MAX_ANSWER + 8 * 2**20)
    assert set(reached) == {"127.0.0.1"}
    [line] = rows["timeout"]["tries"]
    assert line["error"] == "timeout"
    assert line["ms"] >= 2900


async def test_a_tenant_whose_receivers_all_hang_leaves_room_for_every_other(due: Sending) -> None:
    async with AsyncExitStack() as stack:
        hung = [
            await stack.enter_async_context(serve(never_answers))
            for _ in range(PER_TENANT // PER_LANE + 4)
        ]
        for server in hung:
            await due.due(server.url, 2 * PER_LANE)
        await stack.enter_async_context(due.sender(webhook_timeout=60.0))
        await come(lambda: sum(server.open for server in hung) == PER_TENANT)
        # The same receiver, another tenant: a lane of its own.
        shared = await stack.enter_async_context(serve(GOOD, SECRET))
        await due.due(shared.url, 100, tenant=f"{due.tenant}-other")
        await come(lambda: len(shared.ids) == 100)
        assert sum(server.open for server in hung) == PER_TENANT


async def test_connections_to_a_good_receiver_are_used_again_and_a_closed_one_costs_no_failure(
    due: Sending,
) -> None:
    async def closes_soon(*connection: Any) -> None:
        """Closes its connections without a word, as servers do with idle ones."""
        with suppress(TimeoutError):
            await asyncio.wait_for(GOOD(*connection), 0.05)

    async with serve(GOOD, SECRET) as good, serve(closes_soon, SECRET) as idle, due.sender():
        await due.due(good.url, 200)
        ids = await due.due(idle.url, 200)
        await come(lambda: len(good.ids) == 200)
        assert good.connections <= 2 * PER_LANE
        await due.tried(*ids)
        failed = "SELECT count(*) AS n FROM webhook_deliveries WHERE NOT delivered"
        assert (await due.sql(failed))[0]["n"] == 0


async def test_a_receiver_that_asks_for_peace_gets_it_within_bounds(due: Sending) -> None:
    busy = [
        status("503 Busy", "Retry-After: 600"),
        status("503 Busy", "Retry-After: 99999999"),
        status("503 Busy", "Retry-After: 0"),
    ]
    async with serve(answering(*busy)) as server, due.sender():
        [one] = await due.due(server.url)
        waits = []
        for times in (1, 2, 3):
            await due.tried(one, times=times)
            row = await due.row(one)
            waits.append((row["next_at"] - datetime.now(UTC)).total_seconds())
            await due.again(one)
    assert 500 < waits[0] <= 600
    assert 43_000 < waits[1] <= 43_200
    assert 60 < waits[2] <= 120


async def test_an_endpoint_that_fails_for_long_is_disabled_and_one_that_recovers_is_not(
    due: Sending,
) -> None:
    bad = answering(status("500 No"))
    recovers = answering(status("500 No"), status("500 No"), NO_CONTENT)
    async with (
        serve(bad) as failing,
        serve(recovers) as moody,
        due.sender(webhook_disable_after=0.001, webhook_disable_failures=3),
    ):
        first, _ = await due.endpoint(failing.url)
        second, _ = await due.endpoint(moody.url)
        for n in (1, 2):
            [a] = await due.due(failing.url, endpoint=first)
            [b] = await due.due(moody.url, endpoint=second)
            await due.tried(a, b)
            states = await _endpoints(due)
            assert states[first]["failures"] == states[second]["failures"] == n
            assert states[first]["disabled_at"] is None
        [ok] = await due.due(moody.url, endpoint=second)
        [last] = await due.due(failing.url, endpoint=first)
        await due.tried(ok, last)
    states = await _endpoints(due)
    assert (states[second]["failures"], states[second]["failing_since"]) == (0, None)
    assert states[second]["disabled_at"] is None
    assert "every delivery failed" in states[first]["disabled_reason"]
    rows = await due.sql(
        "SELECT kind, pending, last_error FROM webhook_deliveries WHERE endpoint_id = :id", id=first
    )
    assert not any(row["pending"] for row in rows)
    told = await due.sql("SELECT * FROM audit_outbox WHERE tenant_id = :t", t=due.tenant)
    assert [(row["kind"], row["subject"]) for row in told] == [(DISABLED, str(first))]
    [notice] = [row for row in rows if row["kind"] == DISABLED]
    assert notice["last_error"] == states[first]["disabled_reason"]


async def test_410_disables_at_once_and_ends_what_is_due(due: Sending) -> None:
    async with serve(answering(status("410 Gone"))) as gone, due.sender():
        endpoint, _ = await due.endpoint(gone.url)
        ids = await due.due(gone.url, 30, endpoint=endpoint)

        async def disabled() -> bool:
            return (await _endpoints(due))[endpoint]["disabled_at"] is not None

        await stored(disabled)
        rows = [await due.row(delivery) for delivery in ids]
    assert not any(row["pending"] for row in rows)
    assert {row["last_error"] for row in rows} <= {"status", GONE}
    assert (await _endpoints(due))[endpoint]["disabled_reason"] == GONE


async def test_a_rotated_secret_signs_beside_the_new_one_until_its_time_is_over(
    due: Sending,
) -> None:
    async with serve(GOOD) as server, due.sender():
        endpoint, old = await due.endpoint(server.url)
        new = await _rotate(due, endpoint, 3600)
        server.secrets = [old, new]
        [one] = await due.due(server.url, endpoint=endpoint)
        await come(lambda: one in server.ids)
        assert len(server.headers[-1]["webhook-signature"].split(" ")) == 2
        server.secrets = [await _rotate(due, endpoint, 0)]
        [two] = await due.due(server.url, endpoint=endpoint)
        await come(lambda: two in server.ids)
        assert len(server.headers[-1]["webhook-signature"].split(" ")) == 1


async def test_secrets_lie_sealed_and_a_sender_seals_them_anew_when_the_key_changes(
    due: Sending,
) -> None:
    both = ",".join([KEYS[1], KEYS[0]])
    async with serve(GOOD) as server:
        endpoint, secret = await due.endpoint(server.url)
        stored = (await _endpoints(due))[endpoint]["secret"]
        assert stored.startswith("sealed.")
        assert secret.removeprefix("whsec_") not in stored
        server.secrets = [secret]
        async with due.sender(secrets_key=_secret(both)):
            [one] = await due.due(server.url, endpoint=endpoint)
            await come(lambda: one in server.ids)
        only = Keyring.of(KEYS[1])
        stored = (await _endpoints(due))[endpoint]["secret"]
        assert only.open(stored, str(endpoint)) == secret
        # With the wrong key it is said so and tried again; the sender lives.
        async with due.sender(secrets_key=_secret(KEYS[0])):
            [two] = await due.due(server.url, endpoint=endpoint)
            await due.tried(two)
            assert (await due.row(two))["last_error"] == "secret_unreadable"
        async with due.sender(secrets_key=_secret(KEYS[1])):
            await due.again(two)
            await come(lambda: two in server.ids)


async def test_the_log_of_a_delivery_keeps_the_newest_attempts(due: Sending) -> None:
    async with serve(answering(status("500 No"))) as server, due.sender():
        [one] = await due.due(server.url)
        await due.tried(one)
        old = '{"at": "2026-01-01T00:00:00Z", "status": 1, "ms": 1, "error": "status"}'
        await due.sql(
            "UPDATE webhook_deliveries SET next_at = now(), attempts = 1, tries = "
            "(SELECT jsonb_agg(CAST(:old AS jsonb)) FROM generate_series(1, :most)) "
            "WHERE delivery_id = :id",
            old=old,
            most=MAX_TRIES,
            id=one,
        )
        await come(lambda: server.ids[one] == 2)

        async def noted() -> bool:
            return bool((await due.row(one))["tries"][-1]["status"] == 500)

        await stored(noted)
    assert len((await due.row(one))["tries"]) == MAX_TRIES


async def test_two_senders_share_what_is_due_and_send_nothing_twice(due: Sending) -> None:
    async with serve(GOOD, SECRET) as one, serve(GOOD, SECRET) as two:
        servers: list[Server] = [one, two]
        async with due.sender(), due.sender():
            ids = [i for server in servers for i in await due.due(server.url, 300)]
            await due.tried(*ids)
        assert (
            sum((server.ids for server in servers), start=type(one.ids)()).most_common(1)[0][1] == 1
        )


async def _endpoints(due: Sending) -> dict[uuid.UUID, dict[str, Any]]:
    rows = await due.sql("SELECT * FROM webhook_endpoints WHERE tenant_id = :t", t=due.tenant)
    return {row["endpoint_id"]: row for row in rows}


async def _rotate(due: Sending, endpoint: uuid.UUID, overlap: float) -> str:
    async with due.database.begin() as connection:
        done = await webhooks.rotate(connection, due.tenant, endpoint, Keyring.of(KEYS[0]), overlap)
    assert done is not None
    return done[1]


def _secret(text: str) -> Any:
    return Settings.model_validate({"secrets_key": text}).secrets_key
