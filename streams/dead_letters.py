"""Dead letters, counted and told of: ``python -m streams.dead_letters``.

Reads jobs.dlq and writes nothing to Kafka, so no letter can make another. What a letter holds is
never logged.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from infra.crash import crash_point
from infra.settings import Settings, settings
from infra.telemetry import context_of, log, span, traceparent_of
from schemas.codec import codec
from schemas.errors import CodecError
from schemas.reasons import REASONS
from schemas.records import DeadLetter
from schemas.topics import Topics
from streams.faust_app import Outbox, run
from streams.incoming import Incoming

NAME: Final = "dead-letters"
_OTHER: Final = "other"
_CLASSES: Final = frozenset({"retryable", "retryable_elsewhere", "permanent", "conflict"})

#: Dead letters, by where the record lay, reason code and class; unknown values are "other".
LETTERS: Final = Counter(
    "ttv_dead_letters_total", "Dead letters.", ["source", "code", "error_class"]
)


def source_of(topic: str, prefix: str) -> str:
    """The kind of topic a letter came from: requested, control, inbox, assignments or other.

    Args:
        topic: The letter's topic; written by any part, so not trusted as a label.
        prefix: Of this service's topics.
    """
    parts = topic.removeprefix(prefix).split(".")
    if parts[:2] == ["jobs", "requested"]:
        return "requested"
    known = {"control", "inbox", "assignments"}
    return parts[-1] if topic.startswith(prefix) and parts[-1] in known else _OTHER


def labels_of(letter: DeadLetter, prefix: str) -> tuple[str, str, str]:
    """Source, code and class of a letter, from bounded sets."""
    return (
        source_of(letter.topic, prefix),
        letter.code if letter.code in REASONS else _OTHER,
        letter.error_class if letter.error_class in _CLASSES else _OTHER,
    )


class DeadLetterHandler:
    """Handles the records of jobs.dlq."""

    def __init__(self, config: Settings, outbox: Outbox) -> None:
        self._prefix = config.topic_prefix
        self._outbox = outbox

    async def __call__(self, record: Incoming) -> None:
        """Handle one record; see :class:`streams.faust_app.Handler`."""
        with span(NAME, SpanKind.CONSUMER, context_of(traceparent_of(record.headers))):
            lies = {"partition": record.partition, "offset": record.offset}
            try:
                letter = await self._outbox.decode(DeadLetter, record.value)
            except CodecError as error:
                LETTERS.labels("dlq", error.code, error.failure_class).inc()
                log().error("dead_letter.unreadable", code=error.code, **lies)
                return
            source, code, error_class = labels_of(letter, self._prefix)
            LETTERS.labels(source, code, error_class).inc()
            crash_point(f"{NAME}_after_state")
            log().warning(
                "dead_letter",
                source=source,
                code=code,
                error_class=error_class,
                attempts=letter.attempts,
                job_id=letter.job_id,
                tenant_id=letter.tenant_id,
                origin={
                    "topic": letter.topic[:249],
                    "partition": letter.partition,
                    "offset": letter.offset,
                },
                **lies,
            )


def main() -> None:
    """Run the dead-letter app until told to stop."""
    config = settings()
    topics = Topics(config.topic_prefix)
    run(
        config,
        NAME,
        [topics.dlq],
        lambda outbox: DeadLetterHandler(config, outbox),
        codec(config.registry),
    )


if __name__ == "__main__":
    main()
