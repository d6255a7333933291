from __future__ import annotations

from ingest.worker.places import ALL, LEAST, PER_LANE, PER_TENANT, QUICK_LANE, YOUNG, Places


def test_a_lane_has_room_for_what_is_sent_at_once_and_a_quick_one_for_more() -> None:
    places = Places()
    places.take("lane", "t")
    assert places.room().lanes == {"lane": PER_LANE - 1}
    places.give("lane", "t", old=False, quick=True)
    assert places.room().lanes == {"lane": QUICK_LANE}
    places.take("lane", "t")
    assert places.room().lanes == {"lane": QUICK_LANE - 1}
    places.give("lane", "t", old=False, quick=False)
    assert places.room().lanes == {}


def test_a_lane_that_hangs_is_no_longer_quick() -> None:
    places = Places()
    places.take("lane", "t")
    places.give("lane", "t", old=False, quick=True)
    for _ in range(PER_LANE):
        places.take("lane", "t")
    places.grow_old("lane")
    assert places.room().lanes == {"lane": 0}


def test_what_hangs_leaves_room_for_the_quick_but_no_tenant_takes_it_all() -> None:
    places = Places()
    for n in range(YOUNG):
        places.take(f"lane{n}", f"t{n % 2}")
    assert places.room().most == 0
    assert not places.worth_it()
    assert places.room().tenants == {"t0": 0, "t1": 0}
    for n in range(YOUNG):
        places.grow_old(f"lane{n}")
    assert places.room().most == YOUNG
    assert places.room().tenants == {"t0": PER_TENANT - YOUNG // 2, "t1": PER_TENANT - YOUNG // 2}


def test_there_is_an_end_to_what_may_hang() -> None:
    places = Places()
    for n in range(ALL):
        places.take(f"lane{n}", f"t{n}")
        places.grow_old(f"lane{n}")
    assert not places.worth_it()
    for n in range(LEAST):
        places.give(f"lane{n}", f"t{n}", old=True, quick=False)
    assert places.worth_it()
    assert places.room().most == LEAST
