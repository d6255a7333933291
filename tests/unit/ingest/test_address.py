from __future__ import annotations

import ipaddress

import pytest

from ingest.webhooks.address import (
    BAD_PORTS,
    ForbiddenAddress,
    ForbiddenPort,
    ForbiddenTarget,
    Reach,
    is_public,
)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"],
)
def test_global_addresses_pass(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1",
        "2001:db8::1", "3fff::1", "3ffe::1", "5f00::1", "4000::1", "100::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::7f00:1",
        "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "64:ff9b:1::1.1.1.1",
        "2002:7f00:1::", "2002:a00:1::1", "2002:101:101::1", "2606:4700::1%1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:10.0.0.1", "", "x", "1.2.3", "1.2.3.4.5",
    ],
)  # fmt: skip
def test_no_address_of_ones_own_network_passes(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "network", ["2001:200::/23", "8.0.0.0/9", "2a00::/12", "64:ff9b::800:0/104"]
)
def test_what_is_allocated_beside_the_special_networks_passes(network: str) -> None:
    parsed = ipaddress.ip_network(network)
    assert is_public(str(parsed[1]))
    assert is_public(str(parsed[-2]))


def test_ports_of_other_protocols_are_refused_and_a_list_allows_no_others() -> None:
    for port in (22, 25, 2375, 5432, 6379, 9092, 11211):
        with pytest.raises(ForbiddenPort):
            Reach().check("1.1.1.1", port)
    for port in (80, 443, 8080, 8443, 65535):
        Reach().check("1.1.1.1", port)
        assert port not in BAD_PORTS
    only = Reach.of(private=False, denied="", ports="443, 8443")
    only.check("1.1.1.1", 8443)
    with pytest.raises(ForbiddenPort):
        only.check("1.1.1.1", 80)


def test_denied_networks_stay_closed_even_where_private_ones_are_open() -> None:
    reach = Reach.of(private=True, denied="10.0.0.0/8, 2606:4700::/32", ports="")
    reach.check("127.0.0.1", 8080)
    reach.check("1.1.1.1", 443)
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2606:4700::1", "x"):
        with pytest.raises(ForbiddenAddress):
            reach.check(address, 443)


def test_what_is_raised_says_nothing_of_the_address() -> None:
    with pytest.raises(ForbiddenTarget) as raised:
        Reach().check("10.77.3.4", 443)
    assert "10.77" not in str(raised.value)


@pytest.mark.parametrize(
    ("denied", "ports"), [("10.0.0.0/99", ""), ("", "http"), ("10.0.0.1/8", "")]
)
def test_settings_that_are_no_networks_or_ports_stop_the_process(denied: str, ports: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Reach.of(private=False, denied=denied, ports=ports)
