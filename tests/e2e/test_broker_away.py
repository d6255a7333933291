"""A broker that is away costs the time that it is away."""

import signal
import threading
from collections import Counter

import pytest

from infra.stack import Stack
from tests.e2e.crashing import JOB, Strike, openings, patient, strike
from tests.support.api import Api
from tests.support.feeds import completions, events_of

#: Longer than Kafka lets a transaction be open.
AWAY = 20.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", ["gpu_before_send_offsets", "gpu_before_commit"])
def test_a_broker_away_in_the_middle_of_a_commit_costs_that_time_and_nothing_else(
    stack: Stack, api: Api, point: str
) -> None:
    """The slot is held at the edge of its commit until the broker has stopped answering."""
    with patient(stack):  # it is silent while it is held
        one = Strike(point, "frozen")
        strike(stack, api, [one])
        pid = stack.process(one.slot).pid
        stack.signal("kafka", signal.SIGSTOP)
        try:
            stack.signal(one.slot, signal.SIGCONT)
            accepted = [api.submit(**JOB) for _ in range(2)]
            threading.Event().wait(AWAY)  # what is tested is a time
        finally:
            stack.signal("kafka", signal.SIGCONT)
        for job_id in [one.job_id, *accepted]:
            api.await_status(job_id, "completed", seconds=120)
            assert completions(stack.info)[job_id] == 1
            kinds = Counter(event.kind for event in events_of(stack.info, job_id))
            assert (kinds["Admitted"], kinds["Completed"]) == (1, 1)
    assert events_of(stack.info, one.job_id)[-1].attempt == 1
    assert (stack.process(one.slot).pid, openings(stack, one.slot)) == (pid, one.opened)
