"""What goes to the audit topic: the kinds of event, and the bounds of one. Pure.

An event says who did what to which id. It holds no prompt and no secret: details are short strings
that a caller chooses one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Kind = Literal[
    "key.created",
    "key.rotated",
    "key.revoked",
    "role.changed",
    "subject.revoked",
    "tenant.changed",
    "job.deleted",
    "letter.redriven",
    "link.reissued",
    "clock.skew",
    "prompt.blocked",
    "prompt.outlier",
    "access.denied",
    "webhook.created",
    "webhook.changed",
    "webhook.rotated",
    "webhook.removed",
    "webhook.disabled",
]
Outcome = Literal["done", "refused", "seen"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_MOST_DETAILS: Final = 16
_MOST_CHARACTERS: Final = 512


def bounded(text: str) -> str:
    """``text`` as an event may hold it: short, without what would break a line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MOST_CHARACTERS])


def bounded_details(details: Mapping[str, str]) -> dict[str, str]:
    """At most 16 details, each within its bound."""
    return {bounded(k): bounded(v) for k, v in list(details.items())[:_MOST_DETAILS]}
