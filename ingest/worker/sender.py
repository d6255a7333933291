"""Deliveries out: due rows are leased, posted side by side, and noted with how it went.

A crash between the two costs a second delivery with the same webhook-id, never a lost one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

import aiohttp
from opentelemetry.trace import SpanKind
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.crash import crash_point
from infra.settings import Settings
from infra.telemetry import context_of, log, span
from ingest.metrics import DELIVERIES_IN_FLIGHT, DELIVERY_SECONDS
from ingest.store import deliveries as store
from ingest.store import delivery_log
from ingest.store import webhooks as endpoints
from ingest.webhooks.address import Reach
from ingest.webhooks.connect import open_session
from ingest.webhooks.outcome import Answer, Outcome, outcome
from ingest.webhooks.sealing import Keyring
from ingest.worker.attempt import attempt
from ingest.worker.noter import Noter
from ingest.worker.places import ALL, LEAST, PER_LANE, Places

_IDLE: Final = 0.25
_OLD: Final = 1.0
_QUICK: Final = 0.25
#: How long a claimed delivery waits for its lane before it is given back.
_TURN: Final = 5.0
#: A lease outlasts waiting, the attempt and the note by this.
_LEASE_MARGIN: Final = 30.0
_TIDY_EVERY: Final = 60.0


class Sender:
    """Sends one process's share of what is due."""

    def __init__(
        self,
        settings: Settings,
        database: AsyncEngine,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._database = database
        self._jitter = jitter
        self._keyring = Keyring.of(settings.secrets_key.get_secret_value())
        self._reach = Reach.of(
            settings.webhook_allow_private, settings.webhook_deny, settings.webhook_ports
        )
        patience = store.Patience(settings.webhook_disable_after, settings.webhook_disable_failures)
        self._noter = Noter(database, patience)
        self._places = Places()
        #: A lane's turns, for as long as someone waits for one or has one.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._ended = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Send for ever. Raises when PostgreSQL fails."""
        await self._reseal()
        try:
            async with (
                open_session(self._reach, ALL, self._settings.webhook_timeout) as session,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self._noter.run())
                tasks.create_task(self._tidy())
                async with self._database.connect() as connection:
                    # A claim is one statement: it needs no words around it to be a transaction.
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    while True:
                        await self._claim(tasks, session, connection)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _reseal(self) -> None:
        async with self._database.begin() as connection:
            done, lost = await endpoints.reseal(connection, self._keyring)
        if done or lost:
            log().warning("webhook.secrets_resealed", done=done, unreadable=lost)

    async def _tidy(self) -> None:
        while True:
            async with self._database.begin() as connection:
                await delivery_log.tidy(connection, self._settings.webhook_keep)
                await endpoints.forget_previous(connection)
            await asyncio.sleep(_TIDY_EVERY)

    async def _claim(
        self,
        tasks: asyncio.TaskGroup,
        session: aiohttp.ClientSession,
        connection: AsyncConnection,
    ) -> None:
        """Claim what there is room for; returns when the next claim is worth its way."""
        room, self._ended = self._places.room(), 0
        lease = self._settings.webhook_timeout + _TURN + _LEASE_MARGIN
        rows = await store.claim(connection, room, lease)
        for row in rows:
            self._places.take(row["target"], row["tenant_id"])
            tasks.create_task(self._deliver(session, row))
        if len(rows) < room.most:
            # Nothing more is due, or its lane has no room: look again when some have ended.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE):
                    await self._until(lambda: self._ended >= min(LEAST, max(1, len(rows))))
        await self._until(self._places.worth_it)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def _deliver(self, session: aiohttp.ClientSession, row: RowMapping) -> None:
        """Send one delivery when its lane has room; its outcome is left to the noter."""
        lane, old = row["target"], False

        def grow_old() -> None:
            nonlocal old
            old = True
            self._places.grow_old(lane)
            self._news.set()

        began = time.perf_counter()
        timer = asyncio.get_running_loop().call_later(_OLD, grow_old)
        DELIVERIES_IN_FLIGHT.inc()
        quick = False
        try:
            came_to = await self._in_turn(session, row)
            quick = came_to.delivered and came_to.answer.seconds < _QUICK
            self._noter.tell(came_to)
        finally:
            timer.cancel()
            self._places.give(lane, row["tenant_id"], old=old, quick=quick)
            self._ended += 1
            self._news.set()
            DELIVERIES_IN_FLIGHT.dec()
            DELIVERY_SECONDS.observe(time.perf_counter() - began)

    async def _in_turn(self, session: aiohttp.ClientSession, row: RowMapping) -> Outcome:
        turn = self._turns.setdefault(row["target"], asyncio.Semaphore(PER_LANE))
        try:
            async with asyncio.timeout(_TURN):
                await turn.acquire()
        except TimeoutError:
            return outcome(row, Answer(datetime.now(UTC), 0.0, error="released"), 0.0)
        try:
            return await self._send(session, row)
        finally:
            turn.release()

    async def _send(self, session: aiohttp.ClientSession, row: RowMapping) -> Outcome:
        with span(
            "webhook deliver",
            SpanKind.CLIENT,
            context_of(row["traceparent"]),
            job_id=str(row["job_id"]),
            attempt=row["attempts"],
        ) as current:
            own = self._settings.webhook_secret.get_secret_value()
            answer = await attempt(session, row, self._keyring, own)
            if answer.status is not None:
                current.set_attribute("http.response.status_code", answer.status)
        if answer.error is not None:
            log().info("webhook.failed", delivery=row["delivery_id"], error=answer.error)
        crash_point("webhook_before_note")
        return outcome(row, answer, self._jitter())
