"""The breaker against every order of permits, answers, failures and time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.overload.breaker import Breaker, Permit

FAILURES, PAUSE, LONGEST, PROBE = 3, 1.0, 8.0, 4.0


class BreakerMachine(RuleBasedStateMachine):
    """Permits are outstanding in any number, and come back in any order or never."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(FAILURES, PAUSE, LONGEST, PROBE)
        self.now = 0.0
        self.out: list[Permit] = []
        self.probes: list[tuple[Permit, float]] = []
        self.row = 0

    @rule(seconds=st.sampled_from((0.1, 0.5, 1.0, 3.0, 9.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        before = self.breaker.state(self.now)
        permit = self.breaker.permit(self.now)
        if before == "closed":
            assert permit is not None
        if before == "open":
            assert permit is None
            assert 0 < self.breaker.retry_after(self.now) <= LONGEST
        if permit is None:
            return
        if before == "half_open":
            live = [since for probe, since in self.probes if probe in self.out]
            assert all(self.now - since >= PROBE for since in live), "two probes at once"
            self.probes.append((permit, self.now))
        self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        permit = self._take(data)
        fresh = permit.generation == self.breaker._generation
        before = self.breaker.state(self.now)
        self.breaker.succeeded(permit)
        after = self.breaker.state(self.now)
        assert after == ("closed" if fresh else before)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        permit = self._take(data)
        fresh = permit.generation == self.breaker._generation
        before = self.breaker.state(self.now)
        self.breaker.failed(permit, self.now)
        after = self.breaker.state(self.now)
        if not fresh:
            assert after == before
        elif before != "closed":
            assert after == "open"

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        before = self.breaker.state(self.now)
        self.breaker.abandoned(self._take(data))
        assert self.breaker.state(self.now) == before

    @invariant()
    def it_always_heals(self) -> None:
        if self.breaker.state(self.now) == "closed":
            return
        later = self.now + LONGEST + PROBE
        assert self.breaker.state(later) == "half_open"
        assert self.breaker.retry_after(self.now) <= LONGEST + PROBE

    def _take(self, data: st.DataObject) -> Permit:
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))


TestBreaker = BreakerMachine.TestCase


def test_only_failures_in_a_row_open_it() -> None:
    breaker = Breaker(FAILURES, PAUSE, LONGEST, PROBE)
    for good in (False, False, True, False, False, True, False, False):
        permit = breaker.permit(0.0)
        assert permit is not None
        if good:
            breaker.succeeded(permit)
        else:
            breaker.failed(permit, 0.0)
    assert breaker.state(0.0) == "closed"
    last = breaker.permit(0.0)
    assert last is not None
    breaker.failed(last, 0.0)
    assert breaker.state(0.0) == "open"


def test_failed_probes_lengthen_the_pause_up_to_a_bound_and_an_answer_resets_it() -> None:
    breaker = Breaker(1, PAUSE, LONGEST, PROBE)
    now, pauses = 0.0, []
    for _ in range(6):
        permit = breaker.permit(now)
        assert permit is not None
        breaker.failed(permit, now)
        pauses.append(breaker.retry_after(now))
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    probe = breaker.permit(now)
    assert probe is not None
    breaker.succeeded(probe)
    again = breaker.permit(now)
    assert again is not None
    breaker.failed(again, now)
    assert breaker.retry_after(now) == PAUSE


def test_late_failures_from_before_it_healed_do_not_open_it_again() -> None:
    breaker = Breaker(FAILURES, PAUSE, LONGEST, PROBE)
    old = [breaker.permit(0.0) for _ in range(20)]
    for permit in old[:FAILURES]:
        assert permit is not None
        breaker.failed(permit, 0.0)
    probe = breaker.permit(PAUSE)
    assert probe is not None
    breaker.succeeded(probe)
    for permit in old[FAILURES:]:
        assert permit is not None
        breaker.failed(permit, PAUSE)
    assert breaker.state(PAUSE) == "closed"
