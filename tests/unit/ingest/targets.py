"""Webhook targets in every disguise, each with what must become of it known by construction.

The generator never asks the filter, nor ``ipaddress``, what an address is: it draws from networks
that are written down here as forbidden or as allocated to the public, as integers.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from typing import Final

FORBIDDEN_V4: Final = (
    ("0.0.0.0", 8), ("10.0.0.0", 8), ("100.64.0.0", 10), ("127.0.0.0", 8), ("169.254.0.0", 16),
    ("169.254.169.254", 32), ("172.16.0.0", 12), ("192.0.0.0", 24), ("192.0.2.0", 24),
    ("192.88.99.0", 24), ("192.168.0.0", 16), ("198.18.0.0", 15), ("198.51.100.0", 24),
    ("203.0.113.0", 24), ("224.0.0.0", 4), ("240.0.0.0", 4), ("255.255.255.255", 32),
    ("168.63.129.16", 32),
)  # fmt: skip
#: Allocated for years to people who answer on them.
PUBLIC_V4: Final = (("1.1.1.0", 24), ("8.8.8.0", 24), ("93.184.215.0", 24), ("151.101.0.0", 16))
FORBIDDEN_V6: Final = (
    ("::", 128), ("::1", 128), ("::", 96), ("64:ff9b:1::", 48), ("100::", 64), ("2001::", 32),
    ("2001:2::", 48), ("2001:20::", 28), ("2001:db8::", 32), ("2002::", 16), ("3fff::", 20),
    ("5f00::", 16), ("fc00::", 7), ("fd00:ec2::254", 128), ("fe80::", 10), ("fec0::", 10),
    ("ff00::", 8),
)  # fmt: skip
PUBLIC_V6: Final = (("2606:4700::", 32), ("2a00:1450::", 32), ("2001:4860::", 32))


@dataclass(frozen=True)
class Target:
    """A URL, and whether a connection may be made for it.

    Attributes:
        url: What a tenant would register.
        allowed: Whether it leads to the public alone.
        answers: What name servers say of its host, a list a look-up; empty: it is no name.
    """

    url: str
    allowed: bool
    answers: tuple[tuple[str, ...], ...] = ()


def _draw(rng: random.Random, networks: tuple[tuple[str, int], ...], family: int) -> int:
    base, prefix = rng.choice(networks)
    bits = 32 if family == socket.AF_INET else 128
    first = int.from_bytes(socket.inet_pton(family, base))
    size = bits - prefix
    return first >> size << size | rng.getrandbits(size) if size else first


def _v4(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4))


def _v6(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))


def _spelled(rng: random.Random, number: int) -> str:
    """An IPv4 address as ``inet_aton`` reads it: parts in any base, the last ones run together."""
    count = rng.choice((1, 2, 3, 4))
    parts = [number >> 8 * (3 - i) & 0xFF for i in range(count - 1)]
    parts.append(number & (1 << 8 * (5 - count)) - 1)
    bases = (
        str,
        hex,
        lambda n: f"0{n:o}",
        lambda n: f"0X{n:08X}",
        lambda n: f"{n:#o}"[:1] + f"{n:o}",
    )
    return ".".join(rng.choice(bases)(part) for part in parts)


def _inside(rng: random.Random, number: int) -> str:
    """An IPv6 address with an IPv4 address inside, by one of the ways to put it there."""
    tail = rng.getrandbits(64)
    return (
        rng.choice(
            (
                f"::ffff:{_v4(number)}",
                _v6(0xFFFF << 32 | number),
                f"64:ff9b::{_v4(number)}",
                _v6(0x64FF9B << 96 | number),
                _v6(0x2606470000000000 << 64 | 0x5EFE << 32 | number),
                _v6(0x2606470000000000 << 64 | 0x02005EFE << 32 | number),
            )
        )
        if tail
        else f"::ffff:{_v4(number)}"
    )


def literal(rng: random.Random, *, allowed: bool) -> str:
    """An address as it stands between ``//`` and the port."""
    v4 = _draw(rng, PUBLIC_V4 if allowed else FORBIDDEN_V4, socket.AF_INET)
    v6 = _v6(_draw(rng, PUBLIC_V6 if allowed else FORBIDDEN_V6, socket.AF_INET6))
    if allowed:
        return rng.choice((_v4(v4), f"[{v6}]", f"[{_inside(rng, v4)}]"))
    return rng.choice(
        (
            _v4(v4),
            _v4(v4) + ".",
            _spelled(rng, v4),
            _spelled(rng, v4) + ".",
            f"[{_inside(rng, v4)}]",
            f"[{v6}]",
            f"[{v6.upper()}]",
            f"[{v6}%25eth0]",
            "".join(f"%{ord(c):02x}" for c in _v4(v4)),
            _v4(v4).translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
            _v4(v4).replace(".", "\u3002"),
        )
    )


def resolved(rng: random.Random, *, allowed: bool) -> str:
    """An address as name servers give it."""
    return literal(rng, allowed=True).strip("[]") if allowed else _bad_answer(rng)


def _bad_answer(rng: random.Random) -> str:
    v4 = _draw(rng, FORBIDDEN_V4, socket.AF_INET)
    v6 = _v6(_draw(rng, FORBIDDEN_V6, socket.AF_INET6))
    return rng.choice((_v4(v4), v6, _inside(rng, v4), "fe80::1%2"))


def target(rng: random.Random) -> Target:
    """Any target: a literal, a name, or a trick with the URL around one."""
    allowed = rng.random() < 0.25
    scheme, port = rng.choice(("http", "https")), rng.choice((":80", ":443", ":8443", ""))
    if rng.random() < 0.6:
        host = literal(rng, allowed=allowed)
        if not allowed and rng.random() < 0.2:
            trick = rng.choice(
                (
                    "example.com@{}",
                    "example.com%40{}",
                    "example.com\\@{}",
                    "{}#@example.com",
                    "{}\t",
                )
            )
            return Target(f"{scheme}://{trick.format(host)}{port}/", allowed=False)
        return Target(f"{scheme}://{host}{port}/hook?a=b", allowed)
    host = f"h{rng.getrandbits(40):x}.example"
    answers = [resolved(rng, allowed=True) for _ in range(rng.choice((1, 2, 3)))]
    if not allowed:
        answers.insert(rng.randrange(len(answers) + 1), resolved(rng, allowed=False))
    return Target(f"{scheme}://{host}{port}/hook", allowed, (tuple(answers),))
