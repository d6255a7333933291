"""How many deliveries one sender may have claimed: in all, of a tenant, of a lane. Pure.

A delivery is young for its first second and old after that. Claims look at the young alone, so
however many receivers hang, quick ones find places; those that hang fill the places of the old, of
which no tenant gets more than a share.

A lane whose last attempt was answered at once may have more claimed than it sends at once: they
wait for milliseconds, and one claim's way to PostgreSQL and back is paid for many.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from ingest.store.deliveries import Room

#: Attempts of one lane at once.
PER_LANE: Final = 8
#: Claimed and not yet ended: of a quick lane, of one tenant, young ones, and all.
QUICK_LANE: Final = 4 * PER_LANE
PER_TENANT: Final = 128
YOUNG: Final = 256
ALL: Final = 1024
#: A claim for fewer is not worth its way.
LEAST: Final = 16
#: Lanes that are remembered to be quick.
_REMEMBERED: Final = 256


class Places:
    """The counts of one sender. Each delivery is told of when claimed, when old, and when ended."""

    def __init__(self) -> None:
        self._lanes: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()
        self._quick: OrderedDict[str, None] = OrderedDict()
        self._claimed = 0
        self._old = 0

    def room(self) -> Room:
        """What may be claimed now."""
        lanes = dict.fromkeys(self._quick, QUICK_LANE)
        for name, count in self._lanes.items():
            lanes[name] = max(0, lanes.get(name, PER_LANE) - count)
        tenants = {name: max(0, PER_TENANT - count) for name, count in self._tenants.items()}
        return Room(self._most(), PER_LANE, PER_TENANT, lanes, tenants)

    def worth_it(self) -> bool:
        """Whether a claim could take enough to be worth its way."""
        return self._most() >= LEAST

    def _most(self) -> int:
        return min(YOUNG - (self._claimed - self._old), ALL - self._claimed)

    def take(self, lane: str, tenant: str) -> None:
        """A delivery has been claimed."""
        self._lanes[lane] += 1
        self._tenants[tenant] += 1
        self._claimed += 1

    def grow_old(self, lane: str) -> None:
        """A delivery has been claimed for a second: its lane is not quick."""
        self._quick.pop(lane, None)
        self._old += 1

    def give(self, lane: str, tenant: str, *, old: bool, quick: bool) -> None:
        """A delivery has ended.

        Args:
            lane: Its lane.
            tenant: Its tenant.
            old: Whether it had grown old.
            quick: Whether it was answered at once.
        """
        for counts, name in ((self._lanes, lane), (self._tenants, tenant)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        self._claimed -= 1
        self._old -= old
        self._quick.pop(lane, None)
        if quick:
            self._quick[lane] = None
            if len(self._quick) > _REMEMBERED:
                self._quick.popitem(last=False)
