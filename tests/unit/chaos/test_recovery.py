"""Times of recovery: from the fault to the first sign of life after it."""

from tests.chaos.recovery import Recovery, written
from tests.chaos.watch import Seen

TOPIC = "ttv.events"


def record(offset: int, at: float) -> Seen:
    return Seen(TOPIC, 0, offset, at, None)


def test_what_lay_there_before_the_fault_is_no_sign_of_life() -> None:
    recovery = Recovery()
    recovery.await_record("part killed", "api", 100.0, written(TOPIC, {(TOPIC, 0): 5}))
    recovery.seen(record(4, 101.0))
    assert recovery.figures()["part killed"].unmet == 1
    recovery.seen(record(5, 103.5))
    found = recovery.figures()["part killed"]
    assert (found.unmet, found.samples, found.worst, found.measure) == (0, 1, 3.5, "max")


def test_a_sample_that_another_fault_disturbed_is_apart() -> None:
    recovery = Recovery()
    what = "worker killed -> job resumed"
    recovery.await_record(what, "gpu-0", 0.0, written(TOPIC, {}))
    recovery.disturb("kafka")
    recovery.seen(record(0, 90.0))
    found = recovery.figures()[what]
    assert (found.samples, found.disturbed, found.disturbed_worst, found.held) == (0, 1, 90.0, True)


def test_a_goal_that_is_missed_is_told() -> None:
    recovery = Recovery()
    what = "worker killed -> job resumed"
    recovery.await_record(what, "gpu-0", 0.0, written(TOPIC, {}))
    recovery.seen(record(0, 26.0))
    assert not recovery.figures()[what].held


def test_a_fault_of_a_part_that_is_not_needed_disturbs_nothing() -> None:
    recovery = Recovery()
    recovery.await_record("worker killed", "gpu-0", 0.0, written(TOPIC, {}))
    for part in ("dead-letters", "gpu-1", "api", "postgres"):
        recovery.disturb(part)
    recovery.seen(record(0, 9.0))
    assert recovery.figures()["worker killed"].samples == 1


def test_a_fault_while_a_server_is_still_ill_is_disturbed_from_the_first() -> None:
    recovery = Recovery()
    recovery.await_confirmation("broker killed", "kafka", 0.0)
    recovery.await_record("worker killed", "gpu-0", 1.0, written(TOPIC, {}))
    recovery.seen(record(0, 9.0))
    assert recovery.figures()["worker killed"].disturbed == 1
