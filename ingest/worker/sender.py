"""Deliveries out: due rows are leased, posted side by side, and noted with how it went.

A crash between the two costs a second delivery with the same webhook-id, never a lost one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp
from opentelemetry.trace import SpanKind
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from infra.crash import crash_point
from infra.settings import Settings
from infra.telemetry import context_of, log, span, traceparent
from ingest.metrics import DELIVERIES, DELIVERIES_IN_FLIGHT, DELIVERY_SECONDS
from ingest.store import webhooks as store
from ingest.webhooks.address import FilteringResolver, ForbiddenAddress, is_public, literal
from ingest.webhooks.backoff import delay
from ingest.webhooks.payload import signed_headers

_IN_FLIGHT: Final = 64
_PER_TARGET: Final = 8
_IDLE: Final = 0.25
_LEASE_MARGIN: Final = 30.0
_MAX_ANSWER: Final = 64 * 1024
_GONE: Final = 410


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
        self._under_way: set[asyncio.Task[None]] = set()
        self._by_target: Counter[str] = Counter()

    async def run(self) -> None:
        """Send for ever. Raises when PostgreSQL fails."""
        resolver = FilteringResolver(allow_private=self._settings.webhook_allow_private)
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, limit=_IN_FLIGHT, force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._settings.webhook_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as session:
            try:
                while True:
                    if not await self._claim(session):
                        await asyncio.sleep(_IDLE)
                    if self._under_way and len(self._under_way) >= _IN_FLIGHT:
                        await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                    self._raise_failures()
            finally:
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _claim(self, session: aiohttp.ClientSession) -> int:
        free = _IN_FLIGHT - len(self._under_way)
        busy = [target for target, n in self._by_target.items() if n >= _PER_TARGET]
        lease = self._settings.webhook_timeout + _LEASE_MARGIN
        async with self._database.begin() as connection:
            rows = await store.claim(connection, free, _PER_TARGET, busy, lease)
        for row in rows:
            self._by_target[row["target"]] += 1
            self._under_way.add(asyncio.create_task(self._deliver(session, row)))
        return len(rows)

    def _raise_failures(self) -> None:
        """Forget what has ended; an attempt whose outcome could not be stored ends the process."""
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            task.result()

    async def _deliver(self, session: aiohttp.ClientSession, row: RowMapping) -> None:
        began = time.perf_counter()
        DELIVERIES_IN_FLIGHT.inc()
        parent = context_of(row["traceparent"])
        try:
            with span(
                "webhook deliver",
                SpanKind.CLIENT,
                parent,
                job_id=str(row["job_id"]),
                attempt=row["attempts"],
            ) as current:
                status, error = await self._post(session, row)
                if status is not None:
                    current.set_attribute("http.response.status_code", status)
                crash_point("webhook_before_note")
                await self._note(row, status, error)
        finally:
            self._by_target[row["target"]] -= 1
            if not self._by_target[row["target"]]:
                del self._by_target[row["target"]]
            DELIVERIES_IN_FLIGHT.dec()
            DELIVERY_SECONDS.observe(time.perf_counter() - began)

    async def _post(
        self, session: aiohttp.ClientSession, row: RowMapping
    ) -> tuple[int | None, str | None]:
        """One attempt: the receiver's status if there was one, and what went wrong if it did."""
        secret = row["secret"] or self._settings.webhook_secret.get_secret_value()
        headers = signed_headers(secret, row["delivery_id"], row["payload"], datetime.now(UTC))
        headers |= {"Content-Type": "application/json", "User-Agent": "ttv-webhooks/1"}
        parent = traceparent()
        if parent is not None:
            headers["traceparent"] = parent
        try:
            self._check_literal(row["url"])
            async with session.post(
                URL(row["url"], encoded=True),
                data=row["payload"].encode(),
                headers=headers,
                allow_redirects=False,
            ) as response:
                # Enough to let a polite receiver finish; what is longer is cut off.
                await response.content.read(_MAX_ANSWER)
                ok = 200 <= response.status < 300
                return response.status, None if ok else f"status {response.status}"
        except TimeoutError:
            return None, "no answer in time"
        except ForbiddenAddress as error:
            return None, str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            inner = error.__cause__ or error
            forbidden = isinstance(inner, ForbiddenAddress)
            return None, str(inner) if forbidden else type(error).__name__

    def _check_literal(self, url: str) -> None:
        address = literal(URL(url, encoded=True).raw_host or "")
        private = address is not None and not is_public(address)
        if private and not self._settings.webhook_allow_private:
            raise ForbiddenAddress("the target's address is not public")

    async def _note(self, row: RowMapping, status: int | None, error: str | None) -> None:
        async with self._database.begin() as connection:
            if error is None and status is not None:
                DELIVERIES.labels("delivered").inc()
                await store.succeeded(connection, row["delivery_id"], status)
                return
            wrong = error or "unknown"
            log().info("webhook.failed", delivery=row["delivery_id"], error=wrong)
            if status == _GONE and row["endpoint_id"] is not None:
                DELIVERIES.labels("gone").inc()
                await store.gave_up(connection, row["delivery_id"], status, wrong)
                await store.disable(connection, row["endpoint_id"], "the receiver answered 410")
                return
            after = None if status == _GONE else delay(row["attempts"], self._jitter())
            if after is None:
                DELIVERIES.labels("failed").inc()
                await store.gave_up(connection, row["delivery_id"], status, wrong)
            else:
                DELIVERIES.labels("retried").inc()
                await store.try_again(connection, row["delivery_id"], status, wrong, after)
