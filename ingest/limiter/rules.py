"""What is counted against which limit. Pure.

A request counts under its key and its tenant, and, where the settings have rates for them, under
the caller's groups and region, both within the tenant: no tenant can use up what is another's.
A class of requests (submit, write, read) has buckets of its own. A limit of ``q`` a minute is a
GCRA bucket that holds ``q`` and fills evenly, so ``q`` may come at once, after a minute's rest.

What is refused by one policy has been counted by the others: who goes on in spite of 429 waits
longer, not shorter.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from infra.rates import UNLIMITED, Rates, RequestClass

PolicyName = Literal["peer", "key", "tenant", "group", "region"]

#: Seconds that a quota is for: rates are a minute's.
WINDOW: Final = 60
#: Groups of one caller that are counted; a token may name any number.
MAX_GROUPS: Final = 4
#: The region of a request that names none, or none that is known.
NO_REGION: Final = "other"


@dataclass(frozen=True, slots=True)
class Quota:
    """``limit`` requests in ``window`` seconds."""

    limit: int
    window: int = WINDOW


@dataclass(frozen=True, slots=True)
class Rule:
    """One bucket that a request counts in."""

    policy: PolicyName
    kind: RequestClass
    key: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is counted.

    Attributes:
        key: Id of the API key, or the subject of a token.
        tenant: Tenant id.
        groups: The caller's role, and the groups that a token names.
    """

    key: str
    tenant: str
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a deployment.

    Attributes:
        key: For each API key or subject.
        tenant: For each tenant, unless the tenant has limits of its own.
        group: For each group within a tenant.
        region: For each region within a tenant.
        region_header: Header that names a request's region; empty: regions do not count.
        regions: Regions that are told apart; others are counted as one.
    """

    key: Rates
    tenant: Rates
    group: Rates = UNLIMITED
    region: Rates = UNLIMITED
    region_header: str = ""
    regions: frozenset[str] = frozenset()

    def region_of(self, headers: Mapping[str, str]) -> str | None:
        """The region that a request counts under, or None when regions do not count."""
        if not self.region_header:
            return None
        named = headers.get(self.region_header, "").strip().lower()
        return named if named in self.regions else NO_REGION

    def rules(
        self,
        caller: Caller,
        kind: RequestClass,
        region: str | None,
        own: Rates | None = None,
    ) -> list[Rule]:
        """Every bucket that a request of ``kind`` counts in, the narrowest first.

        Args:
            caller: Who asks.
            kind: What for.
            region: From :meth:`region_of`.
            own: The tenant's own limits, in place of the deployment's.
        """
        tenant = own or self.tenant
        named: list[tuple[PolicyName, str, Rates]] = [("key", caller.key, self.key)]
        groups = sorted(set(caller.groups))[:MAX_GROUPS]
        named += [("group", f"{caller.tenant}\x00{group}", self.group) for group in groups]
        if region is not None:
            named.append(("region", f"{caller.tenant}\x00{region}", self.region))
        named.append(("tenant", caller.tenant, tenant))
        return [
            Rule(policy, kind, _bucket(policy, kind, name), Quota(rates.of(kind)))
            for policy, name, rates in named
            if rates.of(kind)
        ]


def peer_rule(address: str, a_minute: int) -> Rule:
    """The bucket of failed sign-ins from one address: an IPv6 /64 is one peer, as it is one host.

    What is no address (a Unix socket's peer has none) is one peer too.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        peer = "none"
    else:
        mapped = getattr(found, "ipv4_mapped", None)
        wide = 64 if found.version == 6 and mapped is None else 32
        peer = str(ipaddress.ip_network(f"{mapped or found}/{wide}", strict=False))
    return Rule("peer", "read", _bucket("peer", "read", peer), Quota(a_minute))


def _bucket(policy: str, kind: str, name: str) -> str:
    # Names are the callers': a digest keeps keys short, and no name can look like another's.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{policy}:{kind}:{digest}"
