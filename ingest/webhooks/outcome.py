"""What an attempt came to, and what follows from it. Pure.

``error`` is one of a few words, for programs; what a receiver answered is never kept.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ingest.view import moment
from ingest.webhooks.backoff import delay
from ingest.webhooks.payload import TEST

GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt went.

    Attributes:
        at: When it began.
        seconds: How long it took.
        status: What the receiver answered, if it did.
        error: What went wrong: timeout, forbidden_address, forbidden_port, name_not_found,
            connect_failed, tls_failed, disconnected, malformed_answer, redirect, status,
            secret_unreadable, released (not made: its turn never came); None: delivered.
        asked: Seconds that the receiver asked to be left alone for.
    """

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    asked: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is noted of an attempt.

    Attributes:
        delivery_id: Of which delivery.
        endpoint_id: Of which endpoint; None: the job's own URL.
        answer: How it went.
        made: False when the attempt was not made, and does not count.
        after: Seconds until the next attempt; None: there is none.
        fresh: Whether this was the delivery's first attempt.
        was_failing: Whether the endpoint's last deliveries had failed.
    """

    delivery_id: str
    endpoint_id: uuid.UUID | None
    answer: Answer
    made: bool
    after: float | None
    fresh: bool
    was_failing: bool

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.answer.error is None

    @property
    def gone(self) -> bool:
        """Whether the endpoint's receiver wants no more."""
        return self.answer.status == GONE and self.endpoint_id is not None

    @property
    def name(self) -> str:
        """For the metric."""
        if not self.made:
            return "released"
        if self.delivered:
            return "delivered"
        if self.gone:
            return "gone"
        return "failed" if self.after is None else "retried"

    def line(self) -> str:
        """The attempt as the delivery log keeps it, in JSON."""
        return json.dumps(
            {
                "at": moment(self.answer.at),
                "status": self.answer.status,
                "ms": round(self.answer.seconds * 1000),
                "error": self.answer.error,
            }
        )


def outcome(row: Any, answer: Answer, jitter: float) -> Outcome:
    """What follows from an attempt.

    Args:
        row: The claimed delivery; ``attempts`` counts this one. A test is tried once.
        answer: How it went.
        jitter: A random number in [0, 1).
    """
    made = answer.error != "released"
    after: float | None = None
    if not made:
        after = 0.0
    elif answer.error is not None and answer.status != GONE and row["kind"] != TEST:
        after = delay(row["attempts"], jitter, answer.asked)
    return Outcome(
        delivery_id=row["delivery_id"],
        endpoint_id=row["endpoint_id"],
        answer=answer,
        made=made,
        after=after,
        fresh=row["attempts"] == 1,
        was_failing=row["failing_since"] is not None,
    )
