"""A slot frozen at an edge of its commit, overtaken and continued completes nothing any more."""

from collections import Counter

import pytest

from infra.stack import Stack
from tests.e2e.crashing import Strike, logged, steps_done, wave
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.held import held

#: Point: terminal events that lie in the completion feed while the slot is frozen, uncommitted.
FROZEN = {"gpu_after_upload": 0, "gpu_before_send_offsets": 1, "gpu_before_commit": 1}


@pytest.fixture(scope="module")
def struck(stack: Stack, api: Api) -> dict[str, Strike]:
    """Three slots frozen at once; the fourth ends their jobs, and then they wake up."""
    strikes = [Strike(point, "frozen") for point in FROZEN]
    wave(stack, api, strikes)
    return {strike.point: strike for strike in strikes}


@pytest.mark.parametrize("point", FROZEN)
def test_a_slot_that_wakes_up_with_its_work_done_neither_commits_nor_announces(
    stack: Stack, struck: dict[str, Strike], point: str
) -> None:
    strike = struck[point]
    assert strike.then is not None
    assert strike.then.seals == 1
    assert strike.ends_then == (FROZEN[point], 0)
    events = events_of(stack.info, strike.job_id)
    assert Counter(event.kind for event in events)["Completed"] == 1
    assert events[-1].kind == "Completed"
    assert events[-1].attempt == 2
    assert f"gpu-{events[-1].slot}" != strike.slot
    assert completions(stack.info)[strike.job_id] == 1
    assert len(logged(stack, "attempt.adopted", strike.job_id)) == 1
    assert held(stack.info, strike.job_id).seals == 1
    assert max(Counter(steps_done(stack, strike.job_id)).values()) == 1
    assert '"slot.lost"' in (stack.layout.logs / f"{strike.slot}.log").read_text()
