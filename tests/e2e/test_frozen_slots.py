"""A slot frozen at an edge of its commit, overtaken and continued completes nothing any more."""

from collections import Counter

import pytest

from infra.stack import Stack
from tests.e2e.crashing import Strike, logged, patient, see_through, steps_done, strike
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.held import held
from tests.support.wait import until

pytestmark = pytest.mark.strike

#: Point: terminal events that lie in the completion feed while the slot is frozen, uncommitted.
FROZEN = {"gpu_after_upload": 0, "gpu_before_send_offsets": 1, "gpu_before_commit": 1}


@pytest.fixture(scope="module")
def struck(stack: Stack, api: Api) -> dict[str, Strike]:
    """Three slots frozen at once; the fourth ends their jobs, and then they wake up."""
    strikes = [Strike(point, "frozen") for point in FROZEN]
    with patient(stack):
        strike(stack, api, strikes)
    see_through(stack, api, strikes)
    return {one.point: one for one in strikes}


@pytest.mark.parametrize("point", FROZEN)
def test_a_slot_that_wakes_up_with_its_work_done_neither_commits_nor_announces(
    stack: Stack, struck: dict[str, Strike], point: str
) -> None:
    one = struck[point]
    assert one.then is not None
    assert one.then.seals == 1
    assert one.ends_then == (FROZEN[point], 0)
    events = events_of(stack.info, one.job_id)
    assert Counter(event.kind for event in events)["Completed"] == 1
    assert events[-1].kind == "Completed"
    assert events[-1].attempt >= 2
    assert f"gpu-{events[-1].slot}" != one.slot
    assert completions(stack.info)[one.job_id] == 1
    assert len(logged(stack, "attempt.adopted", one.job_id)) == 1
    assert held(stack.info, one.job_id).seals == 1
    assert max(Counter(steps_done(stack, one.job_id)).values()) == 1
    log = stack.layout.logs / f"{one.slot}.log"
    until(lambda: '"slot.lost"' in log.read_text(), 60)
