from __future__ import annotations

import ipaddress
import random
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from ingest.webhooks.address import FilteringResolver, ForbiddenAddress, is_public, literal


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111"])
def test_global_addresses_pass(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::7f00:1",
        "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "", "x", "1.2.3", "1.2.3.4.5",
    ],
)  # fmt: skip
def test_no_address_of_ones_own_network_passes(address: str) -> None:
    assert not is_public(address)


def test_a_private_ipv4_address_passes_in_no_ipv6_disguise() -> None:
    rng = random.Random(20261)
    private = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
    networks = [ipaddress.ip_network(network) for network in private]
    for _ in range(2000):
        network = rng.choice(networks)
        number = int(network.network_address) + rng.randrange(network.num_addresses)
        inner = ipaddress.IPv4Address(number)
        disguises = [
            str(inner),
            f"::ffff:{inner}",
            f"::{inner}",
            f"64:ff9b::{inner}",
            str(ipaddress.IPv6Address(0x2002 << 112 | number << 80 | rng.getrandbits(80))),
        ]
        for address in disguises:
            assert not is_public(address), address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("[::1]", "::1"),
        ("example.com", None),
        ("localhost", None),
    ],
)
def test_numbers_are_addresses_however_they_are_written(host: str, address: str | None) -> None:
    assert literal(host) == address


class _Names(AbstractResolver):
    """Answers with the given addresses, one list a look-up."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = self._answers.pop(0)
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in found
        ]

    async def close(self) -> None:
        pass


async def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    resolver = FilteringResolver(
        allow_private=False, names=_Names(["1.1.1.1", "10.0.0.1"], ["1.1.1.1"], ["127.0.0.1"])
    )
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("example.com", 80)
    assert [item["host"] for item in await resolver.resolve("example.com", 80)] == ["1.1.1.1"]
    # Rebinding: the next look-up is filtered as the first was.
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("example.com", 80)
