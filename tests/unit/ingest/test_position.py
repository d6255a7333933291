from __future__ import annotations

import base64

import pytest

from ingest.live.position import InvalidPosition, Position, Seal

SEAL = Seal(bytes(range(32)))
SEEN = {0: 0, 3: 127, 7: 128, 11: 2**40}


def test_an_id_gives_back_the_place_it_was_made_of() -> None:
    assert SEAL.decode("a", SEAL.encode("a", SEEN, 2**32 - 1)) == Position(SEEN, 2**32 - 1)
    assert SEAL.decode("a", SEAL.encode("a", {})) == Position()


def test_one_place_has_one_id_whatever_the_order_of_its_partitions() -> None:
    assert SEAL.encode("a", {1: 5, 2: 6}) == SEAL.encode("a", {2: 6, 1: 5})


def test_an_id_is_its_tenants_alone_and_every_changed_one_is_refused() -> None:
    given = SEAL.encode("a", SEEN)
    raw = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
    changed = [
        base64.urlsafe_b64encode(raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :]).decode().rstrip("=")
        for n in range(len(raw))
    ]
    for text in [*changed, given[:-4], "", "A", "é", "a" * 5000, given + "\n"]:
        with pytest.raises(InvalidPosition):
            SEAL.decode("a", text)
    with pytest.raises(InvalidPosition):
        SEAL.decode("b", given)
    with pytest.raises(InvalidPosition):
        Seal(bytes(32)).decode("a", given)


def test_an_id_does_not_show_how_many_events_others_had() -> None:
    assert SEAL.encode("a", {0: 1000})[:20] != SEAL.encode("a", {0: 1001})[:20]


def test_a_place_covers_what_is_at_or_before_it_in_its_partition() -> None:
    at = Position({2: 10})
    assert at.covers(2, 10)
    assert at.covers(2, 0)
    assert not at.covers(2, 11)
    assert not at.covers(1, 0)
