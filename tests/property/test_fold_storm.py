"""Whatever facts come, in any order: no second end, no lost job, a state to restore from."""

import io
from collections.abc import Sequence

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalog import shipped
from schemas.records import Cursor, PoolState
from schemas.states import TERMINAL_KINDS
from streams.scheduler.commands import Command, Emit, Fence, Send
from streams.scheduler.fold import Fold
from streams.scheduler.policy import PriorityThenArrival
from streams.scheduler.retries import MAX_LOSSES
from streams.scheduler.state import State
from tests.unit.scheduler.pool import SETTINGS, Pool, a_job, job_id

JOBS, SLOTS = 4, 3
number, slot = st.integers(0, JOBS - 1), st.integers(0, SLOTS - 1)
outcomes = st.sampled_from(["completed", "cancelled", "failed", "duplicate", "preempted"])
move = st.one_of(
    st.tuples(st.just("admit"), number, st.sampled_from(["high", "normal", "low"])),
    st.tuples(st.just("cancel"), number),
    st.tuples(st.just("refuse"), number),
    st.tuples(st.just("open"), slot),
    st.tuples(st.just("finish"), slot, outcomes, st.integers(0, 4), st.booleans()),
    st.tuples(st.just("noise"), slot, number, st.integers(0, 5)),
    st.tuples(st.just("fence"), slot),
    st.tuples(st.just("beat"), slot),
    st.tuples(st.just("render"), slot, st.integers(0, 4)),
    st.tuples(st.just("tick"), st.integers(0, 12)),
    st.tuples(st.just("jump"), st.integers(-20_000, 20_000)),
)


def play(pool: Pool, moves: list[tuple[object, ...]]) -> None:  # noqa: C901 a move, a case
    openings = 0
    for kind, *args in moves:
        first = args[0]
        assert isinstance(first, int)
        state = pool.state.slots.get(first)
        match kind:
            case "admit":
                pool.admit(a_job(first, priority=args[1]))
            case "cancel":
                pool.cancel(first)
            case "refuse":
                pool.refuse(first)
            case "open":
                openings += 1
                done = state.last_n - (state.job_id is not None) if state else 0
                pool.open(first, f"i{openings}", max(done, 0))
            case "finish" if state is not None and state.job_id is not None:
                running = pool.state.jobs[state.job_id]
                code = "render_crashed" if args[1] == "failed" else None
                where = int(state.job_id[-1])
                pool.end(
                    first,
                    state.last_n,
                    where,
                    str(args[1]),
                    code,
                    running.attempt,
                    state.incarnation,
                    steps=int(str(args[2])),
                )
                pool.free(first, state.last_n, state.incarnation, more=args[3] is True)
            case "noise":
                pool.end(first, int(str(args[2])), int(str(args[1])), "completed", incarnation="i0")
                pool.free(first, int(str(args[2])), "i0")
            case "fence" if state is not None and state.phase == "fencing":
                pool.fenced(first, state.last_n, state.incarnation)
            case "beat" if state is not None:
                pool.beat(first, state.incarnation)
            case "render" if state is not None:
                pool.render(first, int(str(args[1])))
            case "tick" | "jump":
                pool.tick(first)


def check_no_second_end(pool: Pool) -> None:
    ended: set[str] = set()
    for command in pool.said:
        if isinstance(command, Emit):
            assert command.event.job_id not in ended, "an event follows a terminal one"
            if command.event.kind in TERMINAL_KINDS:
                ended.add(command.event.job_id)


def check_slots_and_jobs_agree(pool: Pool) -> None:
    for job in pool.state.jobs.values():
        if job.phase == "running":
            assert job.slot is not None
            assert pool.state.slots[job.slot].job_id == job.job.job_id
            assert pool.state.slots[job.slot].last_n == job.n
    busy = [s.job_id for s in pool.state.slots.values() if s.job_id is not None]
    assert len(busy) == len(set(busy))
    assert all(pool.state.jobs[found].phase == "running" for found in busy)


def check_assignment_numbers(pool: Pool) -> None:
    sent: dict[int, int] = {}
    for command in pool.said:
        if isinstance(command, Send) and command.assignment.kind == "Assign":
            assert command.assignment.n == sent.get(command.slot, 0) + 1
            sent[command.slot] = command.assignment.n


def check_bounds(pool: Pool) -> None:
    for job in pool.state.jobs.values():
        assert job.failures <= job.losses < MAX_LOSSES
        assert len(job.history) <= 20
    assert pool.state.now >= pool.state.wall


def check_nothing_is_lost(pool: Pool) -> None:
    admitted = {fact.admitted.job_id for fact, _, _ in pool.log if fact.admitted is not None}
    assert admitted <= pool.state.jobs.keys() | pool.state.ended.keys()


@settings(max_examples=300, deadline=None)
@given(st.lists(move, max_size=60))
def test_a_storm_of_facts(moves: list[tuple[object, ...]]) -> None:
    pool = Pool()
    play(pool, moves)
    check_no_second_end(pool)
    check_slots_and_jobs_agree(pool)
    check_assignment_numbers(pool)
    check_nothing_is_lost(pool)
    check_bounds(pool)


@settings(max_examples=100, deadline=None)
@given(st.lists(move, max_size=40), st.integers(0, 40))
def test_a_restored_scheduler_goes_on_as_if_nothing_had_happened(
    moves: list[tuple[object, ...]], crash: int
) -> None:
    pool = Pool()
    play(pool, moves)
    stored: dict[str, PoolState | None] = {}
    fold = Fold(State(pool_start(), PriorityThenArrival()), SETTINGS)
    straight = Fold(State(pool_start(), PriorityThenArrival()), SETTINGS)
    for index, (fact, offset, at) in enumerate(pool.log):
        if index == crash:
            fold = restored(stored)
        mine, other = fold.step(fact, offset, at), straight.step(fact, offset, at)
        stored.update(fold.state.changes())
        assert quiet(mine) == quiet(other)
    assert fold.state.jobs == straight.state.jobs
    assert fold.state.slots == straight.state.slots
    assert fold.state.cursor == straight.state.cursor


def pool_start() -> Cursor:
    return Pool().state.cursor


def quiet(commands: Sequence[Command]) -> list[Command]:
    """Commands that matter for jobs: the outlook is published again after a restore."""
    return [c for c in commands if isinstance(c, Emit | Send | Fence)]


def as_stored(entry: PoolState) -> PoolState:
    text = shipped("PoolState")
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, text.parsed, entry.model_dump())
    buffer.seek(0)
    return PoolState.model_validate(fastavro.schemaless_reader(buffer, text.parsed, text.parsed))


def restored(stored: dict[str, PoolState | None]) -> Fold:
    state = State(Pool().state.cursor, PriorityThenArrival())
    for key, entry in stored.items():  # through Avro: what it rounds or drops would come out here
        state.load(key, None if entry is None else as_stored(entry))
    return Fold(state, SETTINGS)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_with_a_living_slot_every_job_ends(failures: list[int]) -> None:
    pool = Pool()
    for index in range(len(failures)):
        pool.admit(a_job(index))
    pool.open(0)
    left = dict(enumerate(failures))
    for _ in range(400):
        running = pool.state.slots[0]
        if running.job_id is not None:
            index = int(running.job_id[-12:])
            job = pool.state.jobs[running.job_id]
            fails = left[index] > 0
            left[index] -= fails
            outcome, code = ("failed", "render_crashed") if fails else ("completed", None)
            pool.end(0, running.last_n, index, outcome, code, job.attempt)
            pool.free(0, running.last_n)
        pool.wait(1, 0)
        if not pool.state.jobs:
            break
    assert {job_id(index) for index in left} == pool.state.ended.keys()
    assert all(entry.kind == "Completed" for entry in pool.state.ended.values())
