from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ingest.webhooks.address import ForbiddenAddress, ForbiddenTarget, Reach
from ingest.webhooks.connect import FilteringResolver, open_session
from schemas.job import valid_url
from tests.unit.ingest.targets import Target, target

SEED, TARGETS = 20260301, 3000


class Names(AbstractResolver):
    """Answers with the given addresses, one list a look-up; numbers as the system reads them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        try:
            found: Sequence[str] = [socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))]
        except (OSError, UnicodeError):
            found = self._answers.pop(0) if self._answers else []
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        pass


class WouldConnect(OSError):
    """A socket was asked for: the gates let the address through."""


async def connections(reach: Reach, url: str, names: AbstractResolver) -> list[tuple[str, int]]:
    """The addresses that a post to ``url`` would connect to."""
    made: list[tuple[str, int]] = []

    def make(info: Any) -> socket.socket:
        made.append((info[4][0], info[4][1]))
        raise WouldConnect(url)

    async with open_session(reach, 8, 5, names=names, make=make) as session:
        try:
            await session.post(URL(url, encoded=True), trace_request_ctx={})
        except (aiohttp.ClientError, OSError, ValueError):
            return made
    raise AssertionError(url)


async def test_no_generated_target_leads_inside_and_every_public_one_is_reached() -> None:
    rng = random.Random(SEED)
    seen: set[Target] = set()
    refused = reached = 0
    while len(seen) < TARGETS:
        drawn = target(rng)
        if drawn in seen:
            continue
        seen.add(drawn)
        made = await connections(Reach(), drawn.url, Names(*drawn.answers))
        if drawn.allowed:
            reached += 1
            assert made, f"seed {SEED}: {drawn} was refused"
            # The second opinion may only be the stricter one where it knows better.
            inner = [ipaddress.ip_address(address) for address, _ in made]
            assert not any(a.is_loopback or a.is_link_local or a.is_multicast for a in inner)
        else:
            refused += 1
            assert not made, f"seed {SEED}: {drawn} led to {made}"
    assert refused > 1000
    assert reached > 300


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1#@example.com",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://exa mple.com/",
        "http://example.com:99999/",
        "http:///hook",
        "gopher://example.com/",
    ],
)
def test_urls_that_parsers_read_differently_are_refused_when_registered(url: str) -> None:
    assert not valid_url(url)


async def test_a_backslash_leads_to_no_other_host_than_the_gate_sees() -> None:
    names = Names(["1.1.1.1"])
    assert await connections(Reach(), "http://127.0.0.1\\@example.com/", names) == []


async def test_one_private_address_among_public_ones_is_refused() -> None:
    names = Names(["1.1.1.1", "10.0.0.1"], ["1.1.1.1"])
    resolver = FilteringResolver(Reach(), names)
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("example.com", 80)
    assert [item["host"] for item in await resolver.resolve("example.com", 80)] == ["1.1.1.1"]


async def test_a_name_that_changes_its_address_on_the_second_look_up_gains_nothing() -> None:
    names = Names(["1.1.1.1"], ["127.0.0.1"], ["169.254.169.254"])
    assert await connections(Reach(), "http://rebind.example/", names) == [("1.1.1.1", 80)]
    assert await connections(Reach(), "http://rebind.example/", names) == []
    assert await connections(Reach(), "http://rebind.example/", names) == []


async def test_an_address_is_checked_again_where_its_socket_is_made() -> None:
    """The resolver alone would not see this one: it is asked once, and lies."""

    class Lying(Names):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            found = await super().resolve("public.example", 80)
            return _Turning(found, {"host": "127.0.0.1"})

    made = await connections(Reach(), "http://turning.example/", Lying(["1.1.1.1"]))
    assert made == []


class _Turning(list[ResolveResult]):
    """Gives one answer to the first who reads it, and another to the next."""

    def __init__(self, found: list[ResolveResult], then: dict[str, Any]) -> None:
        super().__init__(found)
        self._then, self._read = then, 0

    def __iter__(self) -> Any:
        self._read += 1
        for item in list.__iter__(self):
            yield item if self._read == 1 else item | self._then


async def test_ports_are_checked_for_names_and_literals() -> None:
    for url in ("http://1.1.1.1:6379/", "http://name.example:25/"):
        assert await connections(Reach(), url, Names(["1.1.1.1"])) == []
    only = Reach(ports=frozenset({8443}))
    assert await connections(only, "https://1.1.1.1/", Names()) == []
    assert await connections(only, "https://1.1.1.1:8443/", Names()) == [("1.1.1.1", 8443)]


async def test_private_addresses_are_reached_where_the_setting_allows_it() -> None:
    open_ = Reach(private=True)
    assert await connections(open_, "http://127.0.0.1:8080/", Names()) == [("127.0.0.1", 8080)]
    with pytest.raises(ForbiddenTarget):
        await FilteringResolver(open_, Names(["10.0.0.1"])).resolve("x.example", 22)
