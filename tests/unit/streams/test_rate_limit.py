from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.rate_limit import LAG_US, Bucket, Limit, RateLimiter

START_MS = 1_800_000_000_000
LIMIT = Limit(rate=10.0, burst=5)


def limiter(limit: Limit = LIMIT, capacity: int = 100) -> RateLimiter:
    return RateLimiter(lambda _: limit, capacity)


def admitted_at(limit: Limit, times_ms: list[int]) -> list[int]:
    guard = limiter(limit)
    return [at for at in times_ms if guard.admit("acme", "normal", at)]


limits = st.builds(Limit, rate=st.floats(0.1, 2000, allow_nan=False), burst=st.integers(1, 40))
rising = st.lists(st.integers(0, 400), min_size=1, max_size=150).map(
    lambda steps: [START_MS + sum(steps[: n + 1]) for n in range(len(steps))]
)


@given(limits, rising)
def test_no_window_admits_more_than_the_burst_and_what_the_rate_adds(
    limit: Limit, times_ms: list[int]
) -> None:
    admitted = admitted_at(limit, times_ms)
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            seconds = (admitted[last] - start) / 1000
            assert last - first + 1 <= limit.burst + limit.rate * seconds + 1e-6


@given(limits, rising, st.randoms(use_true_random=False))
def test_a_clock_that_jitters_backwards_admits_no_more(
    limit: Limit, times_ms: list[int], random: Random
) -> None:
    jitter = LAG_US // 1000 // 2
    told = [at - random.randrange(jitter) for at in times_ms]
    admitted = len(admitted_at(limit, told))
    seconds = (max(told) - min(told)) / 1000
    assert admitted <= limit.burst + limit.rate * seconds + 1e-6


@given(st.integers(LAG_US // 1000 + 1, 10**12), limits)
def test_a_clock_that_was_set_back_does_not_lock_a_tenant_out(back_ms: int, limit: Limit) -> None:
    guard = limiter(limit)
    guard.admit("acme", "normal", START_MS + back_ms)
    guard.admit("acme", "normal", START_MS)
    refill_ms = int(1000 * (limit.burst + 1) / limit.rate) + 1
    tries = [START_MS + refill_ms, START_MS + 2 * refill_ms + LAG_US // 1000 + 1]
    assert any(guard.admit("acme", "normal", at) for at in tries)


def test_the_burst_is_admitted_at_once_and_the_rate_after_it() -> None:
    times = [START_MS] * 8 + [START_MS + 99, START_MS + 100, START_MS + 100, START_MS + 200]
    assert admitted_at(LIMIT, times) == [START_MS] * 5 + [START_MS + 100, START_MS + 200]


def test_priorities_share_their_tenants_limit() -> None:
    guard = limiter()
    streams = ["high", "normal", "low"] * 4
    assert sum(guard.admit("acme", stream, START_MS) for stream in streams) == LIMIT.burst


def test_tenants_do_not_touch_each_other() -> None:
    guard = limiter()
    assert sum(guard.admit("hot", "normal", START_MS) for _ in range(100)) == LIMIT.burst
    assert guard.admit("calm", "normal", START_MS)


def test_a_backlog_is_judged_by_when_it_was_sent() -> None:
    guard = limiter()
    hour_later = START_MS + 3_600_000
    assert guard.admit("acme", "high", hour_later)
    sent = [START_MS + 200 * n for n in range(1000)]  # 5 a second, read at once an hour later
    assert all(guard.admit("acme", "low", at) for at in sent)
    assert sum(guard.admit("acme", "low", sent[-1]) for _ in range(100)) < LIMIT.burst


@given(st.lists(st.text("abcdef", min_size=3, max_size=3), max_size=60))
def test_memory_is_bounded_whatever_names_tenants_take(tenants: list[str]) -> None:
    guard = limiter(capacity=8)
    for tenant in tenants:
        guard.admit(tenant, "normal", START_MS)
    assert len(guard) <= 8


def test_the_least_recently_used_bucket_is_forgotten_first() -> None:
    guard = limiter(capacity=4)  # two tenants
    for _ in range(LIMIT.burst):
        guard.admit("kept", "normal", START_MS)
    guard.admit("idle", "normal", START_MS)
    assert not guard.admit("kept", "normal", START_MS)
    guard.admit("new", "normal", START_MS)
    assert not guard.admit("kept", "normal", START_MS)


def test_a_bucket_keeps_its_debt_when_its_clock_is_set_back() -> None:
    bucket = Bucket(now_us=10 * LAG_US)
    for _ in range(LIMIT.burst):
        bucket.take(LIMIT)
    bucket.observe(0)
    assert not bucket.has_room(LIMIT)
    bucket.observe(1_000_000)
    assert bucket.has_room(LIMIT)
