"""The per-tenant rate limit: GCRA over broker time. Pure, in memory, bounded.

A tenant has one bucket for all its requests and one for each stream of them (a priority's topic).
Broker time rises within a stream, but streams lag behind each other after an outage: a record that
lies far behind its tenant's newest is judged by its stream's own bucket, so that an hour's backlog
is judged by when it was sent and not by when it was read.

State is lost in a restart, and a record that is read again counts again: at worst a tenant gets
one more burst, or is refused a little early. What must hold exactly (jobs in flight, quotas,
budgets) is held by the scheduler's fold.

GCRA: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_US: Final = 1_000_000
#: A clock that is this much behind is another stream's (or was set back), not jitter.
LAG_US: Final = 5 * _US


@dataclass(frozen=True, slots=True)
class Limit:
    """``rate`` admissions a second, sustained; ``burst`` at once."""

    rate: float
    burst: int


class Bucket:
    """One GCRA cell. Times are integer microseconds of broker time.

    Attributes:
        last_us: Newest time seen.
    """

    __slots__ = ("_free_at_us", "last_us")

    def __init__(self, now_us: int) -> None:
        self._free_at_us = now_us
        self.last_us = now_us

    def observe(self, now_us: int) -> None:
        """Move the clock to ``now_us``; a clock that was set back keeps the debt, not the wait."""
        if now_us < self.last_us - LAG_US:
            self._free_at_us -= self.last_us - now_us
            self.last_us = now_us
        self.last_us = max(self.last_us, now_us)

    def has_room(self, limit: Limit) -> bool:
        """Whether one more is within ``limit`` at the newest time seen."""
        return self._free_at_us - self.last_us <= (limit.burst - 1) * _interval_us(limit)

    def take(self, limit: Limit) -> None:
        """Count one."""
        self._free_at_us = max(self._free_at_us, self.last_us) + _interval_us(limit)


def _interval_us(limit: Limit) -> int:
    return math.ceil(_US / limit.rate)


class RateLimiter:
    """Buckets of all tenants.

    Args:
        limit_of: Limit of a tenant.
        capacity: Most buckets kept; beyond it the least recently used is forgotten.
    """

    def __init__(self, limit_of: Callable[[str], Limit], capacity: int = 100_000) -> None:
        self._limit_of = limit_of
        self._capacity = capacity
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, tenant_id: str, stream: str, timestamp_ms: int) -> bool:
        """Count a request of ``tenant_id`` if it is within the limit.

        Args:
            tenant_id: Who asks.
            stream: Where the record lay, to the exclusion of its partition.
            timestamp_ms: Broker time of the record.
        """
        now_us = timestamp_ms * 1000
        limit = self._limit_of(tenant_id)
        own = self._bucket(tenant_id, stream, now_us)
        own.observe(now_us)
        judges = [own]
        shared = self._bucket(tenant_id, "", now_us)
        if now_us >= shared.last_us - LAG_US:
            shared.observe(now_us)
            judges.append(shared)
        if not all(bucket.has_room(limit) for bucket in judges):
            return False
        for bucket in judges:
            bucket.take(limit)
        return True

    def _bucket(self, tenant_id: str, stream: str, now_us: int) -> Bucket:
        key = (tenant_id, stream)
        bucket = self._buckets.get(key)
        if bucket is None:
            while len(self._buckets) >= self._capacity:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = Bucket(now_us)
        self._buckets.move_to_end(key)
        return bucket
