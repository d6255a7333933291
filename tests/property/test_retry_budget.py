"""However many jobs fail, a pool retries no more of them in any time than its budget says."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.pool import START, Pool, a_job, job_id

#: The longest delay that the guard's jitter gives to a first failure, in seconds.
JITTER = 0.5
BURST, EARN = 10, 10.0


def storm(gaps: list[int], slots: int) -> list[float]:
    """When the retries of jobs that fail one after the other are due, in seconds, sorted."""
    pool = Pool()
    for slot in range(slots):
        pool.open(slot)
    due: list[float] = []
    for number, gap in enumerate(gaps):
        pool.now += timedelta(milliseconds=gap)
        pool.admit(a_job(number))
        running = pool.state.jobs[job_id(number)]
        assert running.slot is not None, "an earlier retry took the slot"
        pool.end(running.slot, running.n or 0, number, "failed", "render_crashed")
        retry = pool.state.jobs[job_id(number)].not_before
        assert retry is not None
        due.append((retry - START).total_seconds())
        pool.cancel(number)  # so that the next one finds a slot
        pool.free(running.slot, running.n or 0)
    return sorted(due)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4000), min_size=1, max_size=80),
    st.integers(1, 4),
    st.floats(1, 120),
)
def test_no_window_has_more_retries_than_the_budget(
    gaps: list[int], slots: int, window: float
) -> None:
    due = storm(gaps, slots)
    most = max(BURST, 4 * slots) + (window + JITTER) * slots / EARN + 1
    for index, first in enumerate(due):
        inside = [when for when in due[index:] if when <= first + window]
        assert len(inside) <= most
