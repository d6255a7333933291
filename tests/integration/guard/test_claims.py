"""Claims on a real store: one owner, and everybody else learns who they are to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from rust_guard import (
    Claim,
    ClaimConflict,
    CorruptRecord,
    DuplicateClaim,
    FailureClass,
    Guard,
    StoreUnavailable,
)
from tests.integration.guard.conftest import DIGEST, Job, Store
from tests.integration.guard.proxy import Answer, conflict, error, running

pytestmark = pytest.mark.stack


def raced(count: int, act: Callable[[int], Claim]) -> list[Claim | Exception]:
    """What ``count`` threads got that began at once."""
    gate = threading.Barrier(count)

    def run(number: int) -> Claim | Exception:
        gate.wait(30)
        try:
            return act(number)
        except (DuplicateClaim, ClaimConflict) as denied:
            return denied

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_a_new_claim_is_won(guard: Guard, store: Store, job: Job) -> None:
    claim = job.claim(guard)
    assert (claim.job_id, claim.tenant_id) == (job.job_id, "acme")
    assert (claim.attempt, claim.start, claim.resumed) == (1, 1, False)
    stored = json.loads(store.read(job.claim_key))
    assert (stored["topic"], stored["partition"], stored["offset"]) == ("assignments", 3, 7)
    assert stored["spec_digest"] == DIGEST


@pytest.mark.parametrize("round_", range(5))
def test_sixteen_threads_with_records_of_their_own_leave_one_owner(
    store: Store, job: Job, round_: int
) -> None:
    guards = [store.guard() for _ in range(4)]
    outcomes = raced(16, lambda n: job.claim(guards[n % 4], offset=n + round_))
    owners = [o for o in outcomes if isinstance(o, Claim)]
    assert len(owners) == 1
    assert not owners[0].resumed
    assert all(isinstance(o, Claim | DuplicateClaim) for o in outcomes)


def test_ten_starts_of_one_record_get_numbers_of_their_own(guard: Guard, job: Job) -> None:
    # An eleventh that lists late finds ten starts without a checkpoint, and is refused as poison.
    claims = [c for c in raced(10, lambda _: job.claim(guard)) if isinstance(c, Claim)]
    assert sorted(c.start for c in claims) == list(range(1, 11))
    assert sum(not c.resumed for c in claims) == 1


def test_the_same_record_resumes_with_the_next_start(guard: Guard, job: Job) -> None:
    job.claim(guard)
    again = job.claim(guard)
    assert (again.resumed, again.start) == (True, 2)


def test_another_record_is_a_duplicate_that_names_the_holder(guard: Guard, job: Job) -> None:
    job.claim(guard, offset=7)
    with pytest.raises(DuplicateClaim, match=r"assignments\[3\]@7") as caught:
        job.claim(guard, offset=8)
    assert caught.value.failure_class == FailureClass.CONFLICT


def test_another_spec_or_tenant_is_a_conflict(guard: Guard, job: Job) -> None:
    job.claim(guard)
    with pytest.raises(ClaimConflict, match="spec"):
        job.claim(guard, digest="0f" * 32)
    with pytest.raises(ClaimConflict, match="tenant"):
        Job(job.pool_incarnation, "umbrella", job.job_id).claim(guard)


def test_attempts_and_incarnations_are_apart(guard: Guard, job: Job) -> None:
    job.claim(guard)
    assert not job.claim(guard, attempt=2, offset=9).resumed
    recreated = Job("00000000-0000-4000-8000-00000000000a", job.tenant_id, job.job_id)
    assert not recreated.claim(guard, offset=0).resumed


@pytest.mark.parametrize("lost", [{1}, {2}, {1, 2, 3}], ids=["claim", "start", "several"])
def test_a_put_whose_answer_was_lost_still_won(store: Store, job: Job, lost: set[int]) -> None:
    def lose(number: int, _path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        return None if number in lost else answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lose
        claim = job.claim(store.guard(url))
    assert proxy.puts > len(lost)
    assert (claim.resumed, claim.start) == (False, 1)


def test_conflicts_in_flight_and_errors_of_the_server_are_tried_again(
    store: Store, job: Job
) -> None:
    answers = {1: conflict(), 2: error(503), 3: error(500), 5: conflict()}
    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lambda number, _path, _body, forward: answers.get(number) or forward()
        claim = job.claim(store.guard(url))
    assert (claim.resumed, claim.start, proxy.puts) == (False, 1, 6)


def test_a_store_that_never_answers_costs_the_deadline_and_no_more(store: Store, job: Job) -> None:
    release = threading.Event()

    def hang(_n: int, _path: str, _body: bytes, _forward: Callable[[], Answer]) -> None:
        release.wait(60)

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = hang
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            job.claim(store.guard(url, timeout_s=1.5))
        took = time.monotonic() - begun
        release.set()
    assert 0.4 < took < 4


def test_other_threads_run_while_a_call_waits(store: Store, job: Job) -> None:
    turns = 0
    release = threading.Event()

    def hang(_n: int, _path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer:
        release.wait(30)
        return forward()

    with running(store.endpoint) as (proxy, url), ThreadPoolExecutor(1) as pool:
        proxy.on_put = hang
        waiting = pool.submit(job.claim, store.guard(url))
        while turns < 1000:  # would never get here if the call held the GIL
            turns += 1
        assert not waiting.done()
        release.set()
        assert waiting.result(30).start == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b"\xff\xfe", b"[" * 10_000, b" " * 100_000, b'{"version": 2}'],
    ids=["empty", "null", "no-fields", "no-utf8", "nested", "long", "version"],
)
def test_a_hostile_claim_object_is_a_typed_error(
    guard: Guard, store: Store, job: Job, body: bytes
) -> None:
    store.client.put_object(store.bucket, job.claim_key, BytesIO(body), len(body))
    with pytest.raises(CorruptRecord, match="corrupt") as caught:
        job.claim(guard)
    assert caught.value.failure_class == FailureClass.RETRYABLE


def test_another_jobs_claim_under_this_key_is_not_believed(
    guard: Guard, store: Store, new_job: Callable[[], Job]
) -> None:
    theirs, ours = new_job(), new_job()
    theirs.claim(guard)
    copied = store.read(theirs.claim_key)
    store.client.put_object(store.bucket, ours.claim_key, BytesIO(copied), len(copied))
    with pytest.raises(CorruptRecord, match="another"):
        ours.claim(guard)


def test_release_deletes_the_starts_and_keeps_the_claims(
    guard: Guard, store: Store, job: Job
) -> None:
    job.claim(guard)
    claim = job.claim(guard)
    starts = f"starts/{job.pool_incarnation}/{job.job_id}/"
    assert len(store.listing(starts)) == 2
    guard.announce(claim)
    guard.release(claim)
    guard.release(claim)
    assert store.listing(starts) == []
    assert store.listing(f"claims/{job.pool_incarnation}/") == [job.claim_key]
