"""Which addresses and ports a webhook may reach. Pure.

The tables are IANA's special-purpose registries, written down: ``ipaddress.is_global`` is not
enough. Its answer changes with Python's patch release, it calls multicast, site-local, 6to4, Teredo
and translated addresses global whatever lies inside them, and it has never heard of metadata
services that answer on public addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_IPV4_FORBIDDEN: Final = _networks(
    "0.0.0.0/8",  # this network; 0.0.0.0 is loopback to Linux
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT, and Alibaba's metadata
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's host, a public address that answers inside
    "169.254.0.0/16",  # link-local: metadata of most clouds
    "172.16.0.0/12",
    "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
    "192.0.2.0/24",
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
#: All that is global unicast in IPv6; loopback, ULA, link-local, site-local, multicast lie outside.
_IPV6_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_IPV6_FORBIDDEN: Final = _networks(
    "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
    "2001:db8::/32",
    "2002::/16",  # 6to4: an IPv4 address in disguise, by relays that nobody runs any more
    "3ffe::/16",  # 6bone, given back
    "3fff::/20",
)
#: Addresses that stand for the IPv4 address in their last four bytes. NAT64's prefix for local use
#: (64:ff9b:1::/48) and IPv4-compatible addresses (::/96) lie outside 2000::/3 and are not read.
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: ISATAP marks its interface identifiers (the universal bit aside); an IPv4 address follows.
_ISATAP: Final = 0x00005EFE
_ISATAP_MASK: Final = 0xFDFFFFFF

#: Services that take a POST for commands, or that only ever listen inside: the ports that the
#: Fetch standard blocks, and databases, caches, queues and orchestrators.
BAD_PORTS: Final = frozenset(
    {
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
        102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
        427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
        989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
        6666, 6667, 6668, 6669, 6679, 6697, 10080,
        445, 873, 1433, 1521, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900,
        6379, 6443, 9042, 9092, 9200, 9300, 10250, 10255, 11211, 27017,
    }
)  # fmt: skip


class ForbiddenTarget(OSError):
    """The target leads where webhooks must not go: the message says which rule, not where to."""


class ForbiddenAddress(ForbiddenTarget):
    """Its address is not public."""


class ForbiddenPort(ForbiddenTarget):
    """Its port is not one that webhooks may use."""


def is_public(address: str) -> bool:
    """Whether ``address`` is a global unicast address, and so is the IPv4 address inside it."""
    parsed = _parsed(address)
    return parsed is not None and _public(parsed)


def _parsed(address: str) -> Address | None:
    """The address in its plainest form: what a translator would make of it. None when it is none.

    A scope (``%eth0``) belongs to addresses of one's own links.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed.scope_id is not None:
        return None
    if parsed in _MAPPED or parsed in _NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed


def _public(parsed: Address) -> bool:
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _IPV4_FORBIDDEN)
    if parsed not in _IPV6_GLOBAL or any(parsed in network for network in _IPV6_FORBIDDEN):
        return False
    if int(parsed) >> 32 & _ISATAP_MASK == _ISATAP:
        return _public(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    return True


@dataclass(frozen=True)
class Reach:
    """Where this deployment's webhooks may go.

    Attributes:
        private: Whether addresses that are not public may be reached.
        denied: Networks that are never reached, public or not.
        ports: The only ports that may be used; None: all but ``BAD_PORTS``.
    """

    private: bool = False
    denied: tuple[Network, ...] = ()
    ports: frozenset[int] | None = None

    @classmethod
    def of(cls, private: bool, denied: str, ports: str) -> Reach:  # noqa: FBT001 the setting
        """From the settings, both lists with commas.

        Raises:
            ValueError: a network or a port is none.
        """
        return cls(
            private,
            tuple(ipaddress.ip_network(text) for text in _listed(denied)),
            frozenset(int(text) for text in _listed(ports)) or None,
        )

    def check(self, address: str, port: int) -> None:
        """Let a connection to ``address`` and ``port`` be made.

        Raises:
            ForbiddenAddress, ForbiddenPort: it may not.
        """
        self.check_port(port)
        parsed = _parsed(address)
        if parsed is None:
            raise ForbiddenAddress("the target's address is no address")
        if not self.private and not _public(parsed):
            raise ForbiddenAddress("the target's address is not public")
        if any(parsed in network for network in self.denied):
            raise ForbiddenAddress("the target's address is denied here")

    def check_port(self, port: int) -> None:
        """Let ``port`` be used.

        Raises:
            ForbiddenPort: it may not.
        """
        if port in BAD_PORTS if self.ports is None else port not in self.ports:
            raise ForbiddenPort("the target's port is not allowed")


def _listed(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())
