"""The scheduler's decisions, as stories."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from schemas.records import PoolFact
from streams.scheduler.commands import Command, Emit, Fence, Letter, Send
from streams.scheduler.fold import UnknownFactError
from tests.unit.scheduler.pool import START, Pool, a_job, job_id, kinds


def sends(commands: Sequence[Command]) -> list[Send]:
    return [command for command in commands if isinstance(command, Send)]


def test_a_job_waits_until_a_slot_is_free() -> None:
    pool = Pool()
    assert kinds(pool.admit(a_job(1))) == ["Admitted"]
    assert kinds(pool.open(0)) == ["Scheduled", "Assign->0"]
    assert kinds(pool.end(0, 1, 1)) == []
    assert job_id(1) in pool.state.ended
    assert not pool.state.jobs


def test_a_slot_gets_one_job_at_a_time_and_the_next_number_each_time() -> None:
    pool = Pool()
    pool.open(0)
    for number in (1, 2, 3):
        pool.admit(a_job(number))
    assert [send.assignment.n for send in sends(pool.said)] == [1]
    pool.end(0, 1, 1)
    pool.free(0, 1)
    assert [send.assignment.n for send in sends(pool.said)] == [1, 2]
    assert sends(pool.said)[1].assignment.job_id == job_id(2)


def test_all_free_slots_work_at_once() -> None:
    pool = Pool()
    for slot in range(4):
        pool.open(slot)
    for number in range(8):
        pool.admit(a_job(number))
    assert sorted(send.slot for send in sends(pool.said)) == [0, 1, 2, 3]


def test_high_priority_first_then_arrival() -> None:
    pool = Pool()
    pool.admit(a_job(1, priority="low"))
    pool.admit(a_job(2))
    pool.admit(a_job(3, priority="high"))
    pool.admit(a_job(4))
    for slot in range(4):
        pool.open(slot)
    assert [send.assignment.job_id for send in sends(pool.said)] == [
        job_id(n) for n in (3, 2, 4, 1)
    ]


def test_a_repeat_is_dropped_while_the_job_waits_runs_and_has_ended() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    assert kinds(pool.admit(a_job(1))) == []
    pool.open(0)
    assert kinds(pool.admit(a_job(1))) == []
    pool.end(0, 1, 1)
    pool.free(0, 1)
    assert kinds(pool.admit(a_job(1))) == []


@pytest.mark.parametrize("change", [{"spec_digest": "e" * 64}, {"tenant_id": "other"}])
def test_the_same_id_for_another_job_is_a_conflict_and_no_event(change: dict[str, str]) -> None:
    pool = Pool()
    pool.admit(a_job(1))
    commands = pool.admit(a_job(1, **change))
    assert kinds(commands) == ["Letter"]
    assert isinstance(commands[0], Letter)
    assert commands[0].error_class == "conflict"


def test_a_repeat_after_the_window_is_refused_by_its_age() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    pool.end(0, 1, 1)
    pool.tick(8 * 86400)
    pool.wait(6)  # a leap of the clock must last before anything is forgotten over it
    assert not pool.state.ended
    assert kinds(pool.admit(a_job(1))) == ["Refused"]


def test_a_refused_request_ends_at_once_and_once() -> None:
    pool = Pool()
    assert kinds(pool.refuse(1)) == ["Refused"]
    assert kinds(pool.refuse(1)) == []


def test_cancel_while_waiting_ends_the_job() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    assert kinds(pool.cancel(1)) == ["Cancelled"]
    assert kinds(pool.open(0)) == []
    assert kinds(pool.cancel(1)) == []


def test_cancel_while_running_is_an_order_to_the_slot_once() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    assert kinds(pool.cancel(1)) == ["Cancel->0"]
    assert kinds(pool.cancel(1)) == []
    assert kinds(pool.end(0, 1, 1, "cancelled")) == []
    assert pool.state.ended[job_id(1)].kind == "Cancelled"


def test_a_cancelled_job_that_fails_is_cancelled_and_not_retried() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    pool.cancel(1)
    assert kinds(pool.end(0, 1, 1, "failed", "render_crashed")) == ["Cancelled"]


def test_a_cancel_that_comes_before_its_job_is_remembered() -> None:
    pool = Pool()
    assert kinds(pool.cancel(1)) == []
    assert kinds(pool.admit(a_job(1))) == ["Admitted", "Cancelled"]


def test_nobody_cancels_another_tenants_job() -> None:
    pool = Pool()
    pool.cancel(1, tenant="mallory")
    assert kinds(pool.admit(a_job(1))) == ["Admitted"]
    assert kinds(pool.cancel(1, tenant="mallory")) == []
    assert job_id(1) in pool.state.jobs


def test_a_job_that_does_not_start_in_time_expires() -> None:
    pool = Pool()
    pool.admit(a_job(1, expires_at=START + timedelta(seconds=3)))
    assert kinds(pool.wait(2)) == []
    assert kinds(pool.wait(1)) == ["Expired"]


def test_a_retryable_failure_is_tried_again_later() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    assert kinds(pool.end(0, 1, 1, "failed", "render_crashed")) == ["Retrying"]
    pool.free(0, 1)
    pool.wait(2, 0)
    assert [send.assignment.attempt for send in sends(pool.said)] == [1, 2]


def test_a_failure_that_may_work_elsewhere_goes_to_another_slot() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    pool.open(1)
    pool.end(0, 1, 1, "failed", "out_of_memory")
    pool.free(0, 1)
    pool.wait(2, 0, 1)
    assert [send.slot for send in sends(pool.said)] == [0, 1]


def test_the_only_slot_gets_it_again_all_the_same() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    pool.end(0, 1, 1, "failed", "out_of_memory")
    pool.free(0, 1)
    pool.wait(2, 0)
    assert [send.slot for send in sends(pool.said)] == [0, 0]


def test_a_permanent_failure_ends_with_a_dead_letter_and_one_terminal_event() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    commands = pool.end(0, 1, 1, "failed", "invalid_spec")
    assert kinds(commands) == ["Letter", "Failed"]
    assert isinstance(commands[0], Letter)
    assert commands[0].job == a_job(1)
    assert commands[0].arrival == 0
    assert isinstance(commands[1], Emit)
    assert commands[1].event.reason is not None
    assert commands[1].event.reason.code == "invalid_spec"


def test_retries_are_bounded() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    pool.open(0)
    for n in range(1, 20):
        if job_id(1) in pool.state.ended:
            break
        pool.end(0, n, 1, "failed", "render_crashed", attempt=n)
        pool.free(0, n)
        pool.wait(70, 0)
    assert pool.state.ended[job_id(1)].kind == "Failed"


def test_a_silent_slot_is_fenced_and_its_job_goes_elsewhere() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.open(1)
    commands = pool.wait(11, 1)
    fences = [command for command in commands if isinstance(command, Fence)]
    assert fences[0] == Fence(0, "i1", 1)
    pool.fenced(0, 1)
    assert pool.state.slots[0].phase == "closed"
    assert "Assign->1" in kinds(pool.wait(2, 1))
    assert sends(pool.said)[-1].assignment.attempt == 2


def test_what_a_slot_committed_before_the_fence_counts() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.wait(11)
    pool.end(0, 1, 1)
    assert kinds(pool.fenced(0, 1)) == []
    assert pool.state.ended[job_id(1)].kind == "Completed"


def test_nothing_of_a_fenced_incarnation_counts_any_more() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.wait(11)
    pool.fenced(0, 1)
    pool.beat(0)
    assert kinds(pool.end(0, 1, 1)) == []
    assert kinds(pool.free(0, 1)) == []
    assert pool.state.slots[0].phase == "closed"
    assert job_id(1) in pool.state.jobs


def test_a_fence_of_an_overtaken_scheduler_does_not_touch_what_was_sent_since() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.end(0, 1, 1)
    pool.free(0, 1)
    pool.admit(a_job(2))
    assert kinds(pool.fenced(0, 1)) == []
    assert pool.state.jobs[job_id(2)].phase == "running"
    assert pool.state.slots[0].phase == "open"


def test_a_slot_that_reopens_keeps_the_job_it_has_not_ended() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    assert kinds(pool.open(0, "i2", done=0)) == []
    assert kinds(pool.end(0, 1, 1, incarnation="i2")) == []
    assert pool.state.ended[job_id(1)].kind == "Completed"


def test_an_opening_is_a_fence_so_the_newcomer_is_not_fenced_again() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.wait(11)
    assert pool.state.slots[0].phase == "fencing"
    pool.open(0, "i2", done=0)
    assert pool.state.slots[0].phase == "open"
    assert not [c for c in pool.wait(3, 0) if isinstance(c, Fence)]


def test_a_late_fence_of_the_old_holder_does_not_close_the_newcomer() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.wait(11)
    pool.open(0, "i2", done=0)
    assert kinds(pool.fenced(0, 1, "i1")) == []
    assert pool.state.slots[0].phase == "open"
    # The fence moved the offset past the order, so the slot comes back without it.
    assert kinds(pool.open(0, "i3", done=1))[0] == "Retrying"


def test_a_slot_that_never_comes_through_with_its_order_loses_it() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    fences: list[Command] = []
    for life in range(2, 8):
        pool.open(0, f"i{life}", done=0)
        fences = [c for c in pool.tick() if isinstance(c, Fence)]
        if fences:
            break
    assert fences == [Fence(0, f"i{life}", 1)]
    assert kinds(pool.fenced(0, 1, f"i{life}")) == ["Retrying"]


def test_a_cancel_of_another_tenant_does_not_replace_the_owners() -> None:
    pool = Pool()
    pool.cancel(1)
    pool.cancel(1, tenant="mallory")
    assert kinds(pool.admit(a_job(1))) == ["Admitted", "Cancelled"]


def test_a_slot_that_is_done_with_a_job_that_never_ended_gives_it_back() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    assert kinds(pool.free(0, 1))[0] == "Retrying"


def test_stale_repeated_and_foreign_slot_facts_change_nothing() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    before = pool.state.slots[0]
    pool.free(0, 0)
    pool.free(0, 0, "other")
    pool.free(7, 3)
    pool.end(0, 9, 1)
    pool.end(0, 1, 2)
    pool.end(0, 1, 1, incarnation="other")
    pool.beat(0, "other")
    assert pool.state.slots[0] == before


def test_silence_of_the_log_itself_is_not_held_against_the_slots() -> None:
    pool = Pool()
    pool.open(0)
    pool.tick()
    assert not [c for c in pool.tick(3600) if isinstance(c, Fence)]
    assert not [c for c in pool.wait(5, 0) if isinstance(c, Fence)]


def test_time_never_goes_back() -> None:
    pool = Pool()
    pool.tick(10)
    pool.tick(-5)
    assert pool.state.now == START + timedelta(seconds=10)


@pytest.mark.parametrize("fact", [PoolFact(kind="Novelty"), PoolFact(kind="SlotFree")])
def test_an_unknown_fact_stops_the_fold_and_changes_nothing(fact: PoolFact) -> None:
    pool = Pool()
    before = pool.state.cursor
    with pytest.raises(UnknownFactError):
        pool.fold.step(fact, 0, START)
    assert pool.state.cursor == before
