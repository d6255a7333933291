"""The history of a storm, one line a fact in the order of the inbox: for the model to replay.

Facts come from the pool's inbox; what the scheduler did about each is found by the header that
names its cause, what a slot announced with an end by the job and the attempt.

    {"offset", "kind", "at_ms", "job_id", "tenant_id", "spec_digest", "slot", "incarnation", "n",
     "attempt", "outcome", "code", "done_through", "accept_through", "through",
     "caused": [{"kind": "Assign|Cancel|Preempt", "slot", "n", "job_id", "attempt"}
                | {"kind": "event", "event", "job_id", "attempt"}
                | {"kind": "letter", "job_id", "code"}],
     "slot_events": [{"event": "Completed|Cancelled", "job_id", "attempt"}]}

What a fact does not have is null.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Message

from infra.stack.info import StackInfo
from schemas.codec import Codec, codec
from schemas.records import Assignment, DeadLetter, JobEvent, PoolFact
from schemas.topics import Topics
from tests.support.feeds import read_messages, settings_of

#: Header of all that the scheduler writes: the inbox offset of the fact that caused it.
CAUSE: Final = "ttv-cause"

_READ_SECONDS: Final = 120.0
_ENDS_OF_SLOTS: Final = frozenset({"Completed", "Cancelled"})
_FIELDS: Final = (
    "job_id",
    "tenant_id",
    "spec_digest",
    "slot",
    "incarnation",
    "n",
    "attempt",
    "outcome",
    "done_through",
    "accept_through",
    "through",
)

Line = dict[str, Any]
Caused = Mapping[int, list[Line]]
SlotEvents = Mapping[tuple[str, int], list[Line]]


def record(info: StackInfo, pool: str, path: Path) -> int:
    """Write the history of the pool to ``path``; returns how many facts it has."""
    settings = settings_of(info)
    decode = codec(settings.registry)
    topics = Topics()

    def read(topic: str) -> list[Message]:
        return read_messages(settings, topic, _READ_SECONDS)

    events = read(topics.events)
    caused = effects(decode, events, read(topics.assignments(pool)), read(topics.dlq))
    slot_events = announced(decode, events)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for line in lines(decode, read(topics.inbox(pool)), caused, slot_events):
            file.write(json.dumps(line) + "\n")
            count += 1
    return count


def lines(
    decode: Codec, inbox: Iterable[Message], caused: Caused, slot_events: SlotEvents
) -> Iterator[Line]:
    """One line for each fact."""
    for message in inbox:
        fact = decode.decode(PoolFact, bytes(message.value() or b""))
        offset = int(message.offset() or 0)
        line: Line = {"offset": offset, "kind": fact.kind, "at_ms": message.timestamp()[1]}
        payload = _payload(fact)
        line |= {name: getattr(payload, name, None) for name in _FIELDS}
        reason = getattr(payload, "reason", None)
        line["code"] = reason.code if reason is not None else None
        line["caused"] = caused.get(offset, [])
        ended = fact.attempt_ended
        key = (ended.job_id, ended.attempt) if ended is not None else None
        line["slot_events"] = slot_events.get(key, []) if key is not None else []
        yield line


def _payload(fact: PoolFact) -> Any:
    for name in type(fact).model_fields:
        if name != "kind" and (payload := getattr(fact, name)) is not None:
            return payload.tenant if name == "tenant_changed" else payload
    return None


def effects(
    decode: Codec,
    events: Iterable[Message],
    assignments: Iterable[Message],
    letters: Iterable[Message],
) -> Caused:
    """What the scheduler wrote, by the offset of its cause."""
    found: defaultdict[int, list[Line]] = defaultdict(list)
    for message in assignments:
        order = decode.decode(Assignment, bytes(message.value() or b""))
        slot = int(message.partition() or 0)
        about = {"job_id": order.job_id, "attempt": order.attempt}
        _add(found, message, {"kind": order.kind, "slot": slot, "n": order.n, **about})
    for message in events:
        event = decode.decode(JobEvent, bytes(message.value() or b""))
        about = {"job_id": event.job_id, "attempt": event.attempt}
        _add(found, message, {"kind": "event", "event": event.kind, **about})
    for message in letters:
        letter = decode.decode(DeadLetter, bytes(message.value() or b""))
        _add(found, message, {"kind": "letter", "job_id": letter.job_id, "code": letter.code})
    return found


def announced(decode: Codec, events: Iterable[Message]) -> SlotEvents:
    """The ends that slots announced, by job and attempt."""
    found: defaultdict[tuple[str, int], list[Line]] = defaultdict(list)
    for message in events:
        if _cause(message) is None:
            event = decode.decode(JobEvent, bytes(message.value() or b""))
            if event.kind in _ENDS_OF_SLOTS:
                about = {"job_id": event.job_id, "attempt": event.attempt}
                found[event.job_id, event.attempt].append({"event": event.kind, **about})
    return found


def _add(found: defaultdict[int, list[Line]], message: Message, effect: Line) -> None:
    cause = _cause(message)
    if cause is not None:
        found[cause].append(effect)


def _cause(message: Message) -> int | None:
    headers = message.headers() or []
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        if name == CAUSE and value is not None:
            return int(value)
    return None
