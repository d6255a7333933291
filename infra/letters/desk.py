"""What an operator does with dead letters: find them, and have them tried again.

LettersError
├── LogError        Kafka or the registry cannot be read
└── NotProduced     a redrive was not acknowledged: repeat it, that is harmless
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from infra.kafka import Outgoing, plain_producer
from infra.letters.log import QUIET, LetterLog, LettersError, Placed
from infra.letters.redrive import (
    UNREAD,
    NotRedrivableError,
    Redrive,
    content_type,
    letter_id,
    redrive,
)
from infra.producers import ProducerSettingsError, Signer, secrets_of
from infra.settings import Settings
from infra.telemetry import trace_headers
from schemas.codec import Codec
from schemas.errors import CodecError, RegistryUnavailable
from schemas.producers import HEADER, NotProven, proven
from schemas.records import DeadLetter, Record
from schemas.topics import Topics

#: Older letters are not redriven: jobs.completed, which tells whether one was, forgets after 30
#: days by the broker's clock.
MAX_AGE: Final = timedelta(days=29)
_ACKNOWLEDGED_WITHIN: Final = 15.0


class NotProduced(LettersError):
    """Kafka did not acknowledge a redrive in time: repeat it, a second one does no harm."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None is any.

    Attributes:
        not_codes: None of these.
        before: Only what comes after this one in the order of a list: its ``at``, offset and id.
    """

    code: str | None = None
    tenant_id: str | None = None
    ids: frozenset[str] | None = None
    topic: str | None = None
    job_id: str | None = None
    before: tuple[datetime, int, str] | None = None
    not_codes: frozenset[str] = frozenset()

    def takes(self, found: str, letter: DeadLetter) -> bool:
        """Whether ``letter``, whose id is ``found``, is one of them."""
        return (
            (self.ids is None or found in self.ids)
            and (self.code is None or letter.code == self.code)
            and letter.code not in self.not_codes
            and (self.tenant_id is None or letter.tenant_id == self.tenant_id)
            and (self.topic is None or letter.topic == self.topic)
            and (self.job_id is None or letter.job_id == self.job_id)
        )

    def reaches(self, at: datetime, offset: int, found: str) -> bool:
        """Whether a letter of that place comes late enough in the list."""
        return self.before is None or (at, offset, found) < self.before


@dataclass(slots=True)
class Letter:
    """A letter, told once or more often.

    Attributes:
        id: Of the letter.
        letter: What it says; without its value where that is not asked for.
        at: Broker time at which it was first told.
        offset: Of jobs.dlq: letters of one moment lie in this order.
        size: Bytes of its value.
        times: How often it was told.
    """

    id: str
    letter: DeadLetter
    at: datetime
    offset: int
    size: int
    times: int = 1


@dataclass(slots=True)
class Found:
    """What a reading found.

    Attributes:
        letters: Newest first.
        more: Letters that were wanted and are not among them.
        unreadable: Records of jobs.dlq that are no letters.
    """

    letters: list[Letter] = field(default_factory=list)
    more: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of redriving one letter.

    Attributes:
        id: Of the letter.
        action: sent; ended (it was redriven before, and the job has ended); refused.
        job_id: Of the job that it asks for.
        detail: What the operator should know.
    """

    id: str
    action: str
    job_id: str | None
    detail: str = ""


class Desk:
    """Finds letters and redrives them.

    Args:
        settings: Where Kafka is.
        codec: Reads and writes values.
        deadline: Seconds that one reading of a topic may take.
    """

    def __init__(self, settings: Settings, codec: Codec, deadline: float = 60.0) -> None:
        self._settings = settings
        self._codec = codec
        self._topics = Topics(settings.topic_prefix)
        self._log = LetterLog(settings, codec, deadline)

    def find(self, wanted: Wanted, since: datetime, limit: int, most_bytes: int = 0) -> Found:
        """The newest ``limit`` letters that are wanted. Holds no more than those in memory.

        Args:
            wanted: Which.
            since: Only those written since then.
            limit: At most so many.
            most_bytes: Values of up to so many bytes are kept, with the keys and headers.

        Raises:
            LettersError: they could not all be read.
        """
        found, kept, newest = Found(), dict[str, Letter](), list[tuple[datetime, int, str]]()
        dropped, passed = set[str](), set[str]()
        for placed in self._log.letters(since):
            if isinstance(placed.letter, CodecError):
                found.unreadable += 1
                continue
            name = letter_id(placed.letter)
            if not wanted.takes(name, placed.letter):
                continue
            if name in kept:
                kept[name].times += 1
                continue
            if name in dropped or name in passed:
                continue  # told again: it stays where it was told first
            if not wanted.reaches(placed.at, placed.offset, name):
                passed.add(name)
                continue
            kept[name] = _held(name, placed.letter, placed, most_bytes)
            heapq.heappush(newest, (placed.at, placed.offset, name))
            if len(newest) > limit:
                *_, oldest = heapq.heappop(newest)
                del kept[oldest]
                dropped.add(oldest)
        found.letters = sorted(kept.values(), key=_age, reverse=True)
        found.more = len(dropped - kept.keys())
        return found

    def content(self, letter: DeadLetter) -> Record | CodecError | None:
        """What a letter holds, as it reads now; None: its topic is none of ours.

        Raises:
            LogError: the registry does not answer.
        """
        model = content_type(letter, self._topics)
        if model is None:
            return None
        try:
            return self._codec.decode(model, letter.value)
        except RegistryUnavailable as error:
            raise LettersError(f"the schema registry does not answer: {error}") from error
        except CodecError as error:
            return error

    def plan(self, letter: DeadLetter, now: datetime) -> Redrive:
        """What redriving it would produce. Raises NotRedrivableError, LettersError."""
        plan = redrive(letter, self.content(letter), self._topics, now)
        if letter.code in UNREAD and self._settings.kafka_tenant == "header":
            # Admission could not read it, so nobody has looked yet at who sent it.
            self._check_sender(letter, plan.tenant_id)
        return plan

    def _check_sender(self, letter: DeadLetter, tenant_id: str) -> None:
        try:
            secrets = secrets_of(self._settings)
            sender = proven(
                letter.headers.get(HEADER), letter.topic, letter.value, secrets, at=None
            )
        except ProducerSettingsError as error:
            raise LettersError(str(error)) from error
        except NotProven as error:
            raise NotRedrivableError(f"It does not prove who sent it: {error}.") from error
        if sender != tenant_id:
            raise NotRedrivableError("It names another tenant than the one that signed it.")

    def redrive(
        self,
        letters: Iterable[Letter],
        now: datetime,
        each: Callable[[Outcome], None],
        rate: float | None = None,
    ) -> None:
        """Redrive letters, one after the other, each acknowledged before the next.

        Args:
            letters: Which.
            now: Decides which are too old, and which expiries have passed.
            each: Is told what became of each.
            rate: At most so many a second: more than a tenant's rate would only be refused.

        Raises:
            LettersError: some may not have been redriven; doing it again does no harm.
        """
        planned = [(letter, self._planned(letter, now)) for letter in letters]
        ended = self._ended(planned)
        producer = plain_producer(self._settings, **QUIET)
        for letter, plan in planned:
            if isinstance(plan, Outcome):
                each(plan)
            elif plan.job_id in ended:
                text = f"it was redriven before; that job ended: {ended[plan.job_id]}"
                each(Outcome(letter.id, "ended", plan.job_id, text))
            else:
                self._produce(producer, plan)
                each(Outcome(letter.id, "sent", plan.job_id, "; ".join(plan.notes)))
                if rate is not None:
                    time.sleep(1 / rate)

    def _planned(self, letter: Letter, now: datetime) -> Redrive | Outcome:
        if now - letter.at > MAX_AGE:
            text = f"it is older than {MAX_AGE.days} days: submit the request again"
            return Outcome(letter.id, "refused", None, text)
        if letter.size and letter.letter.value is None:
            text = f"it holds {letter.size} bytes: no request is that large"
            return Outcome(letter.id, "refused", None, text)
        try:
            return self.plan(letter.letter, now)
        except NotRedrivableError as error:
            return Outcome(letter.id, "refused", None, str(error))

    def _ended(self, planned: list[tuple[Letter, Redrive | Outcome]]) -> dict[str, str]:
        """The redriven jobs that have ended: the scheduler forgets those, the feed does not."""
        sent = [(one, plan.job_id) for one, plan in planned if isinstance(plan, Redrive)]
        names = {job_id for _, job_id in sent if job_id is not None}
        return self._log.ends(names, min(one.at for one, _ in sent)) if names else {}

    def _produce(self, producer: Producer, plan: Redrive) -> None:
        value = plan.original
        if plan.record is not None:
            try:
                value = self._codec.encode(plan.topic, plan.record)
            except RegistryUnavailable as error:
                raise LettersError(f"the schema registry does not answer: {error}") from error
        failed: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            failed.append(error.str() if error is not None else "")

        try:
            proof = Signer(self._settings).headers(plan.tenant_id, plan.topic, value)
        except ProducerSettingsError as error:
            raise LettersError(str(error)) from error
        headers = [*trace_headers(plan.traceparent), *proof]
        Outgoing(plan.topic, value, plan.key, headers=headers).produce_to(
            producer, on_delivery=delivered
        )
        producer.flush(_ACKNOWLEDGED_WITHIN)
        if failed != [""]:
            why = failed[0] if failed else f"no answer in {_ACKNOWLEDGED_WITHIN:g} s"
            raise NotProduced(f"Kafka did not take the redrive of a letter ({why}): repeat it")


def _age(one: Letter) -> tuple[datetime, int, str]:
    return one.at, one.offset, one.id


def _held(name: str, letter: DeadLetter, placed: Placed, most_bytes: int) -> Letter:
    """The letter without what is too much to hold: anyone may write megabytes."""
    size = len(letter.value or b"")
    bulk = size + len(letter.key or b"") + sum(len(value) for value in letter.headers.values())
    if bulk > most_bytes:
        letter = letter.model_copy(update={"key": None, "headers": {}, "value": None})
    return Letter(name, letter, placed.at, placed.offset, size)
