"""What slots say, and what the scheduler says of them."""

from __future__ import annotations

from typing import Final

from schemas.records import (
    AttemptEnded,
    JobState,
    SlotBeat,
    SlotFenced,
    SlotFree,
    SlotOpened,
    SlotState,
)
from streams.scheduler.jobs import Jobs, reason
from streams.scheduler.retries import MAX_OPENINGS, Retries, fruitless, got_further

#: A slot whose last assignment number is not known yet; its first SlotFree tells.
UNKNOWN_N: Final = -1


class Slots:
    """The facts about slots. Those of an incarnation that is not the present one change nothing."""

    def __init__(self, jobs: Jobs, retries: Retries) -> None:
        self._jobs = jobs
        self._state = jobs.state
        self._retries = retries

    def opened(self, opened: SlotOpened) -> None:
        """Whoever held the slot is fenced by the opening itself.

        A slot that opens again and again with the same order in hand is not coming through with
        it: the slot is fenced to take the order back.
        """
        known = self._state.slots.get(opened.slot) or SlotState(
            slot=opened.slot,
            incarnation=opened.incarnation,
            phase="open",
            last_n=UNKNOWN_N,
            accept_through=UNKNOWN_N,
            last_beat=self._state.now,
            openings=0,
        )
        job = self._job_of(known)
        openings, loses = 0, False
        if job is not None:
            openings = 0 if got_further(job) else known.openings + 1
            loses = self._retries.crashed(job, openings)
        update = {
            "incarnation": opened.incarnation,
            "last_beat": self._state.now,
            "phase": "fencing" if loses else "open",
            "openings": openings,
        }
        self._state.put_slot(known.model_copy(update=update))

    def free(self, free: SlotFree) -> None:
        """All its work is committed; it takes more, or none while it is quarantined."""
        slot = self._alive(free.slot, free.incarnation)
        if slot is None:
            return
        if slot.last_n == UNKNOWN_N:
            slot = slot.model_copy(update={"last_n": free.done_through})
        if free.done_through != slot.last_n:
            return
        lost = self._job_of(slot)
        update = {
            "accept_through": free.accept_through,
            "quarantined": free.accept_through <= free.done_through,
            "last_beat": self._state.now,
            "job_id": None,
        }
        self._state.put_slot(slot.model_copy(update=update))
        if lost is not None:  # done without an end that the fold took: nobody else will do it
            self._retries.lost(lost, "fenced", counted=fruitless(lost))

    def beat(self, beat: SlotBeat) -> None:
        """It lives, and so far has come with what it has in hand."""
        slot = self._alive(beat.slot, beat.incarnation)
        if slot is None:
            return
        self._state.put_slot(slot.model_copy(update={"last_beat": self._state.now}))
        job = self._job_of(slot)
        if job is None or beat.n != slot.last_n or beat.steps_stored is None:
            return
        steps = max(job.steps, beat.steps_stored)
        begun_at = job.begun_at if job.begun_at is not None else steps
        if (steps, begun_at) != (job.steps, job.begun_at):
            self._state.put_job(job.model_copy(update={"steps": steps, "begun_at": begun_at}))

    def attempt_ended(self, ended: AttemptEnded) -> None:
        """An attempt ended on it: with the job, or without."""
        slot = self._alive(ended.slot, ended.incarnation)
        if slot is None or slot.last_n != ended.n or slot.job_id != ended.job_id:
            return
        update = {"job_id": None, "last_beat": self._state.now, "openings": 0}
        self._state.put_slot(slot.model_copy(update=update))
        job = self._state.jobs.get(ended.job_id)
        if job is None or job.attempt != ended.attempt:
            return
        if ended.steps_stored is not None:
            job = job.model_copy(update={"steps": max(job.steps, ended.steps_stored)})
        match ended.outcome:
            case "completed" | "cancelled":
                kind = ended.outcome.capitalize()
                self._jobs.ended(job.job.job_id, job.job.tenant_id, job.job.spec_digest, kind)
            case "preempted":
                self._retries.handed_over(job, ended.reason)
            case "duplicate":  # the claim is another record's: a new attempt is free
                self._retries.lost(job, "duplicate", counted=False)
            case _:
                self._retries.failed(job, ended.reason or reason("render_crashed"))

    def fenced(self, fenced: SlotFenced) -> None:
        """It fell silent or did not come through with its order, and has been shut out."""
        slot = self._state.slots.get(fenced.slot)
        if slot is None or slot.phase == "closed" or slot.incarnation != fenced.incarnation:
            return  # what became of the order, the slot's next SlotFree tells
        if slot.last_n > fenced.through:
            return  # what was sent since then lies beyond the fence and is not touched by it
        lost = self._job_of(slot)
        update = {
            "phase": "closed",
            "job_id": None,
            "accept_through": slot.last_n,
            "openings": 0,
        }
        self._state.put_slot(slot.model_copy(update=update))
        if lost is not None:
            never = slot.openings >= MAX_OPENINGS and lost.begun_at is None
            counted = fruitless(lost) or never
            self._retries.lost(lost, "fenced", counted=counted)

    def _alive(self, number: int, incarnation: str) -> SlotState | None:
        slot = self._state.slots.get(number)
        if slot is None or slot.incarnation != incarnation or slot.phase == "closed":
            return None
        return slot

    def _job_of(self, slot: SlotState) -> JobState | None:
        return self._state.jobs.get(slot.job_id) if slot.job_id is not None else None
