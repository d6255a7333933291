"""Where a webhook may go: addresses are filtered after they are resolved, in the resolver itself.

The connection is made to the very address that passed, so a name that resolves differently the
second time (rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NAT64: Final = (
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
)
_SIXTOFOUR: Final = ipaddress.ip_network("2002::/16")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


class ForbiddenAddress(OSError):
    """The target leads to an address that webhooks must not reach."""


def is_public(address: str) -> bool:
    """Whether ``address`` is a global unicast address, and so is every address inside it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if "%" in address:
            return False
        inner = _embedded(parsed)
        if inner is not None:
            return _global(inner)
        if parsed in _COMPATIBLE or any(parsed in network for network in _NAT64):
            return False
    return _global(parsed)


def _global(parsed: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _embedded(parsed: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, NAT64, 6to4 or Teredo."""
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    if parsed in _NAT64[0]:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if parsed in _SIXTOFOUR:
        return parsed.sixtofour
    return parsed.teredo[1] if parsed.teredo is not None else None


class FilteringResolver(AbstractResolver):
    """Resolves names, by default as the system does, and lets only public addresses through."""

    def __init__(self, *, allow_private: bool, names: AbstractResolver | None = None) -> None:
        self._allow_private = allow_private
        self._names = names or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host`` that may be reached.

        Raises:
            ForbiddenAddress: it has none, or one that may not.
        """
        found = await self._names.resolve(host, port, family)
        if not self._allow_private and not all(is_public(item["host"]) for item in found):
            raise ForbiddenAddress("the target's address is not public")
        return found

    async def close(self) -> None:
        """Nothing to give back."""
        await self._names.close()


def literal(host: str) -> str | None:
    """The address that ``host`` is by itself, or None for a name.

    aiohttp does not ask the resolver about literal addresses; and the system's resolver reads
    ``127.1``, ``0x7f000001`` and ``2130706433`` as addresses too.
    """
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
