"""A slot killed at any edge of its work: one completion, one video, and nothing computed twice."""

import hashlib
from collections import Counter

import pytest

from infra.stack import Stack
from tests.e2e.crashing import (
    JOB,
    Strike,
    logged,
    patient,
    resumed_at,
    see_through,
    steps_done,
    strike,
)
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.held import Held, held

pytestmark = pytest.mark.strike

#: Point: what is there when the process dies: claim, checkpoint, sealed video; and how many
#: terminal events the completion feed holds, and how many of them are committed.
LEFT = {
    "gpu_after_poll": (False, False, False, (0, 0)),
    "gpu_after_claim": (True, False, False, (0, 0)),
    "gpu_started_before_commit": (True, None, False, (0, 0)),
    "gpu_mid_render": (True, True, False, (0, 0)),
    "gpu_after_checkpoint": (True, True, False, (0, 0)),
    "gpu_before_upload": (True, True, False, (0, 0)),
    "gpu_after_upload": (True, True, True, (0, 0)),
    "gpu_before_send_offsets": (True, True, True, (1, 0)),
    "gpu_before_commit": (True, True, True, (1, 0)),
    "gpu_after_commit": (True, True, True, (1, 1)),
}
#: Slots that do not come back: another one must go on.
DEAD = ("gpu_mid_render", "gpu_after_upload")


@pytest.fixture(scope="module")
def undisturbed(api: Api) -> str:
    """SHA-256 of the video that the job makes when nothing happens to it."""
    job = api.await_status(api.submit(**JOB), "completed")
    return str(job["artifact"]["sha256"])


@pytest.fixture(scope="module")
def struck(stack: Stack, api: Api) -> list[Strike]:
    """Every point, four at a time. Nobody is fenced while it starts again, however slowly."""
    back, dead = [Strike(point) for point in LEFT], [Strike(point, "dead") for point in DEAD]
    with patient(stack):
        for first in range(0, len(back), 4):
            four = back[first : first + 4]
            strike(stack, api, four)
            see_through(stack, api, four)
        strike(stack, api, dead)
    see_through(stack, api, dead)
    return back + dead


def strike_at(struck: list[Strike], point: str, fate: str) -> Strike:
    return next(each for each in struck if (each.point, each.fate) == (point, fate))


def assert_died_there(one: Strike) -> Held:
    """It was struck where it says, and not a step earlier or later."""
    then = one.then
    assert then is not None
    claimed, checkpointed, sealed, ends = LEFT[one.point]
    assert (then.claims, then.seals) == (int(claimed), int(sealed))
    assert checkpointed is None or (then.step > 0) is checkpointed
    assert not then.step or then.conditionings == 1
    assert one.ends_then == ends
    return then


def assert_made_good(stack: Stack, api: Api, one: Strike, then: Held, sha256: str) -> None:
    """One completion, one video, the same bytes; nothing that was kept was computed again."""
    assert completions(stack.info)[one.job_id] == 1
    kinds = Counter(event.kind for event in events_of(stack.info, one.job_id))
    assert kinds["Completed"] == 1
    assert one.job["artifact"]["sha256"] == sha256
    assert hashlib.sha256(api.video(one.job_id)).hexdigest() == sha256
    assert held(stack.info, one.job_id).seals == 1
    counted = Counter(steps_done(stack, one.job_id))
    kept = JOB["num_inference_steps"] if then.seals else then.step
    assert [step for step, times in counted.items() if step <= kept and times > 1] == []
    assert max(counted.values()) <= 2
    resumed = [then.step] if then.step and not then.seals else []
    assert resumed_at(stack, one.job_id) == resumed


@pytest.mark.parametrize("point", LEFT)
def test_a_slot_killed_at_a_point_makes_it_good_when_it_is_back(
    stack: Stack, api: Api, struck: list[Strike], undisturbed: str, point: str
) -> None:
    one = strike_at(struck, point, "restarted")
    then = assert_died_there(one)
    assert_made_good(stack, api, one, then, undisturbed)
    announced = one.ends_then[1]
    adopted = len(logged(stack, "attempt.adopted", one.job_id))
    assert adopted == (1 if then.seals and not announced else 0)
    assert events_of(stack.info, one.job_id)[-1].attempt == 1


@pytest.mark.parametrize("point", DEAD)
def test_a_slot_that_stays_dead_at_a_point_has_its_job_made_good_by_another(
    stack: Stack, api: Api, struck: list[Strike], undisturbed: str, point: str
) -> None:
    one = strike_at(struck, point, "dead")
    then = assert_died_there(one)
    assert_made_good(stack, api, one, then, undisturbed)
    end = events_of(stack.info, one.job_id)[-1]
    assert end.kind == "Completed"
    assert end.attempt >= 2
    assert f"gpu-{end.slot}" != one.slot
    assert len(logged(stack, "attempt.adopted", one.job_id)) == then.seals
