"""Admission as a process: decode, decide, send, acknowledge."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from infra.crash import crash_point
from infra.kafka import Outgoing
from infra.producers import ProducerSettingsError, secrets_of, tenants_of
from infra.prompts.block_list import block_list
from infra.settings import Settings, settings
from infra.telemetry import context_of, log, span, trace_headers, traceparent, traceparent_of
from schemas.codec import codec
from schemas.errors import CodecError
from schemas.records import CancelRequested, JobRequested
from schemas.topics import Source, Topics
from streams.admission.decide import Admission, Effect, Fact, Forward, Letter, Moment, unreadable
from streams.admission.trust import Trust, TrustsField, TrustsHeader, TrustsTopic
from streams.faust_app import Outbox, run
from streams.incoming import Incoming
from streams.rate_limit import Limit, RateLimiter

NAME: Final = "admission"

#: What admission did, by what and, for letters and refusals, the reason's code.
DECISIONS: Final = Counter("ttv_admission_decisions_total", "Decisions.", ["what", "code"])


class AdmissionHandler:
    """Handles the records of jobs.requested.* and jobs.control.

    Args:
        config: Settings.
        outbox: Where outputs go.
        clock: This process's time.
    """

    def __init__(
        self,
        config: Settings,
        outbox: Outbox,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._topics = Topics(config.topic_prefix)
        self._outbox = outbox
        self._clock = clock
        limit = Limit(config.tenant_rate, config.tenant_burst)
        self._admission = Admission(
            pools={config.pool},
            dedupe_window=timedelta(seconds=config.dedupe_window),
            limiter=RateLimiter(lambda _: limit),
            priority_of=lambda topic: self._source(topic).priority or "",
            is_blocked=block_list(config).blocks,
            trust=trust_of(config),
        )

    def _source(self, topic: str) -> Source:
        source = self._topics.source(topic)
        if source is None:
            raise LookupError(f"{topic} is not admission's")
        return source

    async def __call__(self, record: Incoming) -> None:
        """Handle one record; see :class:`streams.faust_app.Handler`."""
        parent = context_of(traceparent_of(record.headers))
        place = {
            "messaging.system": "kafka",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        with span(NAME, SpanKind.CONSUMER, parent, **place) as current:
            effects = await self._decide(record)
            crash_point("admission_after_state")
            for effect in effects:
                await self._outbox.send(await self._outgoing(record, effect))
                crash_point("admission_after_output")
                about = _about(effect)
                current.set_attributes({f"ttv.{name}": text for name, text in about.items()})
                DECISIONS.labels(about["what"], about.get("code", "")).inc()
                log().info("admission.decided", offset=record.offset, topic=record.topic, **about)

    async def _decide(self, record: Incoming) -> list[Effect]:
        is_control = self._source(record.topic).priority is None
        moment = Moment(
            now=self._clock(),
            partitions=await self._outbox.partitions_of(record.topic),
            traceparent=traceparent(),
        )
        try:
            if is_control:
                cancel = await self._outbox.decode(CancelRequested, record.value)
                return self._admission.cancel(record, cancel, moment)
            request = await self._outbox.decode(JobRequested, record.value)
        except CodecError as error:
            return unreadable(record, error, moment.now)
        return self._admission.request(record, request, moment)

    async def _outgoing(self, record: Incoming, effect: Effect) -> Outgoing:
        if isinstance(effect, Forward):
            return Outgoing(
                record.topic, record.value, effect.key, effect.partition, effect.headers
            )
        if isinstance(effect, Fact):
            topic = self._topics.inbox(effect.pool)
            value = await self._outbox.encode(topic, effect.fact)
            return Outgoing(topic, value, partition=0, headers=trace_headers())
        value = await self._outbox.encode(self._topics.dlq, effect.letter)
        return Outgoing(self._topics.dlq, value, record.key, headers=trace_headers())


def _about(effect: Effect) -> dict[str, str]:
    """What may be logged and counted of an effect: ids and codes."""
    if isinstance(effect, Forward):
        return {"what": "forwarded"}
    if isinstance(effect, Letter):
        letter = effect.letter
        return {"what": "dead_letter", "code": letter.code} | (
            {"job_id": letter.job_id} if letter.job_id else {}
        )
    fact = effect.fact
    if fact.refused is not None:
        refused = fact.refused
        return {"what": "refused", "code": refused.reason.code, "job_id": refused.job_id}
    job = fact.admitted or fact.cancel_requested
    known = {"job_id": job.job_id} if job is not None else {}
    return {"what": "admitted" if fact.admitted is not None else "cancel"} | known


def trust_of(config: Settings) -> Trust:
    """What vouches for a record's tenant here. Raises ProducerSettingsError."""
    if config.kafka_tenant == "header":
        return TrustsHeader(secrets_of(config), timedelta(seconds=config.dedupe_window))
    if config.kafka_tenant == "topic":
        return TrustsTopic(Topics(config.topic_prefix))
    return TrustsField()


def main() -> None:
    """Run admission until told to stop."""
    config = settings()
    try:
        trust_of(config)
        reads = Topics(config.topic_prefix).sources(tenants_of(config))
    except ProducerSettingsError as error:
        sys.exit(str(error))
    run(
        config,
        NAME,
        reads,
        lambda outbox: AdmissionHandler(config, outbox),
        codec(config.registry),
    )
