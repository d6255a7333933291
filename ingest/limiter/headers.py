"""RateLimit and RateLimit-Policy, as draft-ietf-httpapi-ratelimit-headers-11 has them. Pure.

Both are lists of structured fields (RFC 9651). The class of request is the partition key (``pk``):
the same policy has other numbers for reads than for submits, and a client can keep them apart.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

from ingest.limiter.rules import Rule
from ingest.limiter.store import Taken


def rate_headers(judged: Sequence[tuple[Rule, Taken]]) -> dict[str, str]:
    """The headers of an answer that was counted; none for one that was not."""
    if not judged:
        return {}
    policies = [
        f'"{rule.policy}";q={rule.quota.limit};w={rule.quota.window};pk={_partition(rule)}'
        for rule, _ in judged
    ]
    states = [
        f'"{rule.policy}";r={0 if taken.limited else taken.remaining};t={_seconds(taken)}'
        f";pk={_partition(rule)}"
        for rule, taken in judged
    ]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def retry_after(judged: Sequence[tuple[Rule, Taken]]) -> int:
    """Whole seconds until the request would be let through, at least 1."""
    waits = [taken.retry_after for _, taken in judged if taken.limited]
    return max(1, math.ceil(max(waits, default=0.0)))


def _seconds(taken: Taken) -> int:
    return max(0, math.ceil(taken.retry_after if taken.limited else taken.reset_after))


def _partition(rule: Rule) -> str:
    return f":{base64.b64encode(rule.kind.encode()).decode()}:"
