"""The schedule of a storm: repeated by its seed, and sparing nobody."""

from collections import Counter
from itertools import islice

import pytest

from tests.chaos.plan import GPU_POINTS, SCHEDULER_POINTS, Wanted, pack, plan

PAUSES = (1.0, 2.0)


def test_the_same_seed_deals_the_same_faults() -> None:
    faults = pack(3)
    one, same, other = (list(islice(plan(seed, faults, 2, PAUSES), 200)) for seed in (7, 7, 8))
    assert one == same
    assert one != other


def test_one_pack_holds_every_part_and_every_crash_point() -> None:
    faults = pack(3)
    dealt = list(islice(plan(1, faults, 3, PAUSES), len(faults)))
    assert {fault.detail for fault in dealt if fault.kind == "crash"} >= {
        *GPU_POINTS,
        *SCHEDULER_POINTS,
    }
    parts = Counter(fault.part for fault in dealt)
    assert parts.keys() >= {"scheduler", "admission", "dead-letters", "worker", "api"}
    assert parts.keys() >= {"kafka", "s3", "postgres", "registry", "gpu-0", "gpu-1", "gpu-2"}
    assert all(PAUSES[0] <= fault.pause <= PAUSES[1] for fault in dealt)


def test_what_is_not_wanted_is_not_dealt() -> None:
    wanted = Wanted(frozenset({"gpu"}), frozenset({"crash"}), frozenset({"gpu_after_claim"}))
    assert {(fault.kind, fault.detail) for fault in pack(2) if wanted(fault)} == {
        ("crash", "gpu_after_claim")
    }
    with pytest.raises(ValueError, match="no fault"):
        next(plan(1, [], 1, PAUSES))
