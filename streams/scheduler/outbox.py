"""Commands and state changes as the records of one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from infra.kafka import Outgoing
from infra.telemetry import context_of, span, trace_headers
from schemas import cloudevents
from schemas.codec import Codec
from schemas.records import DeadLetter, PoolFact
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics
from streams.scheduler.commands import Command, Emit, Letter, Publish, Send
from streams.scheduler.source import Source
from streams.scheduler.state import State

#: Header of every record that the scheduler decides on: the inbox offset of the fact behind it.
CAUSE: Final = "ttv-cause"


class Outbox:
    """Turns what the fold decided into records."""

    def __init__(self, codec: Codec, topics: Topics, pool: str) -> None:
        self._codec = codec
        self._topics = topics
        self._pool = pool

    def records(self, command: Command, source: Source) -> Iterator[Outgoing]:
        """The records of one command, each with its cause as a header.

        Args:
            command: What the fold asked for; a Fence makes none.
            source: The inbox record that it was decided on.
        """
        cause = (CAUSE, str(source.offset).encode())
        for record in self._made(command, source):
            yield replace(record, headers=[*record.headers, cause])

    def _made(self, command: Command, source: Source) -> Iterator[Outgoing]:
        match command:
            case Emit():
                yield from self._event(command)
            case Send():
                yield self._order(command)
            case Letter():
                yield self._letter(command, source)
            case Publish(outlook):
                topic = self._topics.outlook(self._pool)
                yield Outgoing(topic, self._codec.encode(topic, outlook), self._pool.encode())
            case _:
                return

    def state_records(self, state: State) -> Iterator[Outgoing]:
        """The state's changes since the last transaction."""
        topic = self._topics.state(self._pool)
        for key, entry in state.changes():
            value = None if entry is None else self._codec.encode(topic, entry)
            yield Outgoing(topic, value, key.encode(), 0)

    def _event(self, command: Emit) -> Iterator[Outgoing]:
        event = command.event
        feeds = [self._topics.events]
        if event.kind in TERMINAL_KINDS:
            feeds.append(self._topics.completed)
        headers = [*cloudevents.of_event(event), *trace_headers(command.traceparent)]
        for topic in feeds:
            value = self._codec.encode(topic, event)
            yield Outgoing(topic, value, event.job_id.encode(), headers=headers)

    def _order(self, command: Send) -> Outgoing:
        topic = self._topics.assignments(self._pool)
        order = command.assignment
        with span(
            f"schedule {order.kind.lower()}",
            parent=context_of(command.traceparent),
            job_id=order.job_id,
            slot=command.slot,
            attempt=order.attempt,
        ):
            headers = trace_headers()
        return Outgoing(
            topic, self._codec.encode(topic, order), partition=command.slot, headers=headers
        )

    def _letter(self, letter: Letter, source: Source) -> Outgoing:
        topic, inbox = self._topics.dlq, self._topics.inbox(self._pool)
        value, offset = source.value, source.offset
        if letter.job is not None:
            value = self._codec.encode(inbox, PoolFact(kind="Admitted", admitted=letter.job))
            offset = letter.arrival
        record = DeadLetter(
            topic=inbox,
            partition=0,
            offset=offset,
            value=value,
            error_class=letter.error_class,
            code=letter.code,
            reason=letter.reason,
            attempts=letter.attempts,
            tenant_id=letter.tenant_id,
            job_id=letter.job_id,
            occurred_at=source.at,
            history=letter.history,
        )
        return Outgoing(topic, self._codec.encode(topic, record), letter.job_id.encode())
