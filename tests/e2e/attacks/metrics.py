"""What the API says of itself."""

from __future__ import annotations

import re

import httpx2

from infra.stack.info import StackInfo

_REFUSED = re.compile(
    r'^ttv_http_requests_total\{[^}]*status="4\d\d"[^}]*\} ([0-9.e+]+)$', re.MULTILINE
)


def refusals(info: StackInfo) -> float:
    """Requests that were answered with a 4xx, all API processes together."""
    pages = [httpx2.get(url, timeout=10).text for url in info.metrics]
    return sum(float(found) for page in pages for found in _REFUSED.findall(page))
