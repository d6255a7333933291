"""When, and what of it, an ended job's leftovers are deleted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

import rust_guard
from schemas.codec import Codec, single_object
from schemas.records import JobEvent, Record
from streams.collector import Collector, Ended, Pass, ended, too_old
from streams.faust_app import Outbox
from streams.incoming import Incoming
from tests.unit.ingest.events import artifact, happened, job

DAY = 86_400.0


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Bucket:
    """A guard that notes what it is asked; fails as often as it is told to."""

    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def collect(self, tenant_id: str, job_id: str, keep: str | None = None) -> int:
        self.asked.append((tenant_id, job_id, keep))
        if self.failures:
            raise self.failures.pop(0)
        return 3


class NoRegistry:
    """Values in single-object encoding need none."""

    def id_of(self, subject: str, text: str) -> int:
        raise AssertionError(subject, text)

    def text_of(self, schema_id: int) -> str | None:
        raise AssertionError(schema_id)


class Decoding(Outbox):
    """Decodes, and sends nothing."""

    def __init__(self) -> None:
        self._codec = Codec(NoRegistry())


def event(kind: str, **fields: Any) -> JobEvent:
    return happened(job(), kind, **fields)[0]


def record(of: Record | bytes, at: float) -> Incoming:
    value = of if isinstance(of, bytes) else single_object(of)
    return Incoming("ttv.jobs.completed", 0, 7, b"job", value, round(at * 1000))


def collector(bucket: Bucket, clock: Clock, after: float = 600.0) -> Collector:
    return Collector(Pass("collector", after, 7 * DAY), bucket, Decoding(), clock)


NOW = datetime(2026, 3, 2, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("kind", ["Completed", "Failed", "Cancelled", "Expired"])
def test_an_ended_job_is_collected_but_for_the_video_that_its_event_names(kind: str) -> None:
    of = event(kind, artifact_=artifact("videos/named.mp4"))
    keep = "videos/named.mp4" if kind == "Completed" else None
    assert ended(of) == Ended(of.tenant_id, of.job_id, keep)


@pytest.mark.parametrize("kind", ["Refused", "Started", "Retrying", "SomethingNew"])
def test_a_job_that_never_ran_or_has_not_ended_is_left_alone(kind: str) -> None:
    of = event("Failed").model_copy(update={"kind": kind})
    assert ended(of) is None


def test_a_job_that_was_cancelled_before_any_attempt_ended_is_collected_too() -> None:
    of = event("Cancelled").model_copy(update={"attempt": 0})
    assert ended(of) is not None


async def test_it_waits_until_the_delay_is_over() -> None:
    bucket, clock = Bucket(), Clock(NOW)
    of = event("Failed")
    waiting = asyncio.create_task(collector(bucket, clock, 0.3)(record(of, NOW)))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    assert bucket.asked == []
    await waiting
    assert bucket.asked == [(of.tenant_id, of.job_id, None)]


async def test_what_is_overdue_goes_at_once() -> None:
    bucket, clock = Bucket(), Clock(NOW)
    await collector(bucket, clock)(record(event("Failed"), NOW - 601))
    assert len(bucket.asked) == 1


async def test_a_clock_that_is_hours_behind_costs_one_delay_and_no_more() -> None:
    bucket, clock = Bucket(), Clock(NOW - 5 * 3600)
    await collector(bucket, clock, 0.05)(record(event("Failed"), NOW))
    assert len(bucket.asked) == 1


async def test_a_job_whose_id_may_mean_another_by_now_is_never_touched() -> None:
    bucket, clock = Bucket(), Clock(NOW)
    await collector(bucket, clock)(record(event("Failed"), NOW - 7 * DAY))
    assert bucket.asked == []
    assert too_old(6.4 * DAY, 7 * DAY)
    assert not too_old(DAY, 7 * DAY)


async def test_a_store_that_is_away_is_asked_again() -> None:
    away: list[Exception] = [rust_guard.StoreUnavailable("away"), rust_guard.StoreUnavailable("a")]
    for error in away:
        error.code = "store_unavailable"  # type: ignore[attr-defined]
    bucket, clock = Bucket(away), Clock(NOW)
    await collector(bucket, clock, 0.0)(record(event("Failed"), NOW))
    assert len(bucket.asked) == 3


async def test_a_store_that_stays_away_until_the_id_is_forgotten_is_given_up() -> None:
    bucket, clock = Bucket(), Clock(NOW)

    class Later(Bucket):
        def collect(self, tenant_id: str, job_id: str, keep: str | None = None) -> int:
            clock.now += 7 * DAY
            error = rust_guard.StoreUnavailable("away")
            error.code = "store_unavailable"
            self.asked.append((tenant_id, job_id, keep))
            raise error

    bucket = Later()
    await collector(bucket, clock, 0.0)(record(event("Failed"), NOW))
    assert len(bucket.asked) == 1


async def test_what_the_guard_refuses_is_left_alone_and_harms_nobody_behind_it() -> None:
    refused = rust_guard.InvalidId("keep: the key of a video of this job")
    refused.code = "invalid_id"
    bucket, clock = Bucket([refused]), Clock(NOW)
    collect = collector(bucket, clock, 0.0)
    await collect(record(event("Completed", artifact_=artifact("claims/x")), NOW))
    await collect(record(event("Failed"), NOW))
    assert len(bucket.asked) == 2


async def test_a_record_that_cannot_be_read_is_passed_over() -> None:
    bucket, clock = Bucket(), Clock(NOW)
    await collector(bucket, clock, 0.0)(record(b"\xc3\x01garbage", NOW))
    assert bucket.asked == []
