"""A job that takes its consumer down with it, and a slot that takes down its jobs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Message

from gpu_consumer.attempt import Attempt
from gpu_consumer.slot_log import FencedError, SlotLog
from gpu_consumer.voice import Voice
from infra.settings import STAND_IN
from schemas.records import Assignment, PoolState, SlotFree
from tests.integration.scheduler.pool_bus import PoolBus, a_job
from tests.integration.streams.bus import DEADLINE, Running, wait_for

SCHEDULER, CONSUMER = "streams.scheduler", "gpu_consumer"
#: Starts that a retryable failure may cost: the guard's policy.
LIMIT = 5


class DoomedSlot:
    """A slot whose process dies each time a moment after it has launched a render."""

    def __init__(self, pool: PoolBus) -> None:
        self._pool = pool
        self.launches = 0

    def lives_once(self, life: int) -> None:
        """Open, take the order that is there or comes, launch it if so, and die."""
        settings = self._pool.of_slot(0)
        log = SlotLog(settings, f"life {life}")
        voice = Voice(settings, self._pool.codec, f"life {life}")
        log.take()
        log.commit([voice.opened("doomed"), voice.free(log.done_through)])
        log.start_reading()
        message = self._order_or_end(log)
        if message is not None:
            order = self._pool.codec.decode(Assignment, message.value())
            assert order.job is not None
            attempt = Attempt.of(order, order.job, message.offset() or 0, None)
            attempt.steps_found = 0
            self.launches += 1
            with suppress(FencedError):  # it was taken back before this life was over
                log.commit([*voice.event("Started", attempt), voice.living(attempt)])
        log.close()

    def _order_or_end(self, log: SlotLog) -> Message | None:
        deadline = time.monotonic() + DEADLINE
        while (message := log.poll(0.2)) is None and not self._pool.ends():
            assert time.monotonic() < deadline
        return message


@pytest.mark.strike
def test_a_job_that_kills_its_consumer_each_time_ends_as_a_dead_letter(pool: PoolBus) -> None:
    job, slot, life = a_job(), DoomedSlot(pool), 0
    pool.admit(job)
    with pool.run(SCHEDULER, retry_earn="1"):
        while not pool.ends():
            life += 1
            slot.lives_once(life)
            judged = partial(is_judged, pool, f"life {life}")
            wait_for("the opening judged", judged)
            assert life < 4 * LIMIT
    (end,) = pool.ends()
    assert (end.kind, end.job_id) == ("Failed", job.job_id)
    (letter,) = pool.letters()
    assert letter.code == "slot_fenced"
    assert [entry.counted for entry in letter.history] == [True] * LIMIT
    assert slot.launches >= LIMIT  # more: those that were launched while the fence was on its way


def is_judged(pool: PoolBus, incarnation: str) -> bool:
    """Whether the scheduler knows of an opening, and has made the fence that it decided, if any.

    No process loads a model faster than that. Its state may be compacted to newer openings.
    """
    states = [
        pool.codec.decode(PoolState, message.value()).slot
        for message in pool.messages(pool.topics.state(pool.settings.pool))
        if message.value() is not None
    ]
    known = [slot for slot in states if slot is not None and slot.incarnation == incarnation]
    return bool(known) and known[-1].phase != "fencing"


def children_of(consumer: Running) -> list[int]:
    pid = consumer.process.pid
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []  # it has ended
    return [int(child) for child in text.split()]


def frees(pool: PoolBus) -> list[SlotFree]:
    return [fact.slot_free for fact in pool.facts() if fact.slot_free is not None]


def shut(pool: PoolBus) -> bool:
    return any(free.accept_through == free.done_through for free in frees(pool))


@contextmanager
def every_child_dying(consumer: Running) -> Iterator[None]:
    """Until the block ends, no render child of the consumer lives for long."""
    over = Event()

    def harm() -> None:
        while not over.wait(0.05):
            for child in children_of(consumer):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGSEGV)

    thread = Thread(target=harm)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_slot_whose_renders_all_crash_shuts_itself_tests_itself_and_comes_back(
    pool: PoolBus, tmp_path: Path
) -> None:
    jobs = [a_job() for _ in range(2)]
    settings = {
        "model": STAND_IN,
        "stand_in_step": "0.1",
        "checkpoint_every_steps": "100",
        "quarantine_after": "2",
        "quarantine_pause": "1",
        "work_dir": str(tmp_path / "work"),
    }
    with pool.run(SCHEDULER), pool.run(CONSUMER, **settings) as consumer:
        wait_for("an open slot", lambda: frees(pool))
        with every_child_dying(consumer):
            pool.admit(*jobs)
            wait_for("a slot that is shut", lambda: shut(pool))
        wait_for("all videos", lambda: len(pool.ends()) == len(jobs))
        assert consumer.terminate() == 0
    assert {end.kind for end in pool.ends()} == {"Completed"}
    credit = [free.accept_through - free.done_through for free in frees(pool)]
    assert credit[:2] == [1, 1], "one failure shuts no slot"
    assert credit.count(0) == 1
    assert credit[credit.index(0) + 1] == 1
    assert consumer.says("slot.quarantined")
    assert consumer.says("slot.test_passed")
    beats = [fact.slot_beat for fact in pool.facts() if fact.slot_beat is not None]
    launched = {beat.job_id for beat in beats if beat.steps_stored == 0 and beat.n is not None}
    assert launched == {job.job_id for job in jobs}
    failed = [fact.attempt_ended for fact in pool.facts() if fact.attempt_ended is not None]
    assert {end.steps_stored for end in failed if end.outcome == "failed"} == {0}


def test_a_slot_says_how_much_of_its_job_is_stored(pool: PoolBus, tmp_path: Path) -> None:
    job = a_job()
    settings = {
        "model": STAND_IN,
        "stand_in_step": "0.5",
        "checkpoint_every_steps": "2",
        "work_dir": str(tmp_path / "work"),
    }
    with pool.run(SCHEDULER), pool.run(CONSUMER, **settings):
        pool.admit(job)
        wait_for("the video", pool.ends)
    facts = pool.facts()
    (end,) = [fact.attempt_ended for fact in facts if fact.attempt_ended is not None]
    assert (end.outcome, end.steps_stored) == ("completed", 4)
    said = [b.steps_stored for fact in facts if (b := fact.slot_beat) is not None and b.n == end.n]
    launched = [steps for steps in said if steps is not None]
    assert {0, 2} <= set(launched) <= {0, 2, 4}
    assert launched == sorted(launched)


def test_a_launch_is_known_even_if_the_process_dies_with_it(pool: PoolBus, tmp_path: Path) -> None:
    settings = {"model": STAND_IN, "work_dir": str(tmp_path / "work")}
    dies = {"crash_at": "gpu_started_after_commit"}
    with pool.run(SCHEDULER), pool.run(CONSUMER, **settings, **dies) as consumer:
        pool.admit(a_job())
        assert consumer.died() == -signal.SIGKILL
    beats = [fact.slot_beat for fact in pool.facts() if fact.slot_beat is not None]
    assert [(b.n, b.steps_stored) for b in beats if b.steps_stored is not None] == [(1, 0)]
