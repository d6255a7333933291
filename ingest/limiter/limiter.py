"""The limiter of one API process: counts requests, and failed sign-ins by address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.rates import Rates, RequestClass
from infra.settings import Settings
from ingest.limiter.failover import FailoverStore
from ingest.limiter.headers import rate_headers, retry_after
from ingest.limiter.rules import Caller, Limits, Rule, peer_rule
from ingest.limiter.store import BucketStore, Taken, memory_store
from ingest.limiter.valkey import ValkeyStore
from ingest.metrics import LIMITED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the limits say of a request.

    Attributes:
        limited: Answer 429.
        headers: RateLimit headers of the answer, whatever it is.
        retry_after: Seconds to wait when limited.
    """

    limited: bool
    headers: Mapping[str, str]
    retry_after: int


class Limiter:
    """Judges requests by the limits of the settings.

    Args:
        limits: The rules.
        store: Where callers are counted.
        failures_a_minute: Failed sign-ins an address may make; 0: any number.
    """

    def __init__(self, limits: Limits, store: BucketStore, failures_a_minute: int) -> None:
        self._limits = limits
        self._store = store
        # An address is counted here alone: a flood must not become one of the shared store.
        self._peers = memory_store()
        self._failures = failures_a_minute

    async def judge(
        self,
        caller: Caller,
        kind: RequestClass,
        headers: Mapping[str, str],
        own: Rates | None = None,
        cost: int = 1,
    ) -> Verdict:
        """Count a request, or ``cost`` of them that come as one.

        Args:
            caller: Who asks.
            kind: What for.
            headers: The request's headers, by lower-case name.
            own: The tenant's own limits, if it has any.
            cost: How many it counts for.
        """
        rules = self._limits.rules(caller, kind, self._limits.region_of(headers), own)
        taken = await asyncio.gather(
            *(self._store.take(rule.key, rule.quota, cost) for rule in rules)
        )
        return _verdict(list(zip(rules, taken, strict=True)))

    async def peer_blocked(self, address: str) -> Verdict | None:
        """The refusal of an address that has failed to sign in too often, or None."""
        if not self._failures:
            return None
        rule = peer_rule(address, self._failures)
        seen = await self._peers.peek(rule.key, rule.quota)
        return _verdict([(rule, seen)]) if seen.limited else None

    async def sign_in_failed(self, address: str) -> None:
        """Count a failed sign-in."""
        if self._failures:
            rule = peer_rule(address, self._failures)
            await self._peers.take(rule.key, rule.quota)

    async def close(self) -> None:
        """Give the store back."""
        await self._store.close()


def limiter_of(settings: Settings) -> Limiter:
    """The limiter that the settings describe."""
    regions = settings.limit_regions.replace(",", " ").lower().split()
    limits = Limits(
        key=settings.limit_key,
        tenant=settings.limit_tenant,
        group=settings.limit_group,
        region=settings.limit_region,
        region_header=settings.limit_region_header.lower(),
        regions=frozenset(regions),
    )
    url = settings.limiter.get_secret_value()
    store = FailoverStore(ValkeyStore(url, settings.topic_prefix)) if url else memory_store()
    return Limiter(limits, store, settings.limit_failures)


def _verdict(judged: Sequence[tuple[Rule, Taken]]) -> Verdict:
    over = [rule for rule, taken in judged if taken.limited]
    for rule in over:
        LIMITED.labels(rule.policy, rule.kind).inc()
    return Verdict(bool(over), rate_headers(judged), retry_after(judged) if over else 0)
