from __future__ import annotations

from ingest.identity.key_ring import KeyRing
from ingest.identity.public_key import keys_of
from tests.support.issuing import new_key, public

KEYS = keys_of({"keys": [public(new_key(), "k1")]})
OTHERS = keys_of({"keys": [public(new_key(), "k2")]})


def ring() -> KeyRing:
    return KeyRing(refresh=300, min_interval=30, keep=3600)


def loaded(at: float = 0) -> KeyRing:
    made = ring()
    made.trying(at)
    made.loaded(KEYS, at)
    return made


def test_the_first_token_has_the_keys_fetched() -> None:
    made = ring()
    assert made.due("k1", 0)
    assert made.find("k1", 0) is None
    assert not made.away


def test_a_known_key_is_not_fetched_again_before_its_time() -> None:
    made = loaded()
    assert not made.due("k1", 299)
    assert made.due("k1", 300)
    assert made.find("k1", 300) is not None


def test_unknown_ids_have_the_keys_fetched_once_an_interval_however_many_come() -> None:
    made = loaded()
    fetches = 0
    for tenth in range(6000):
        if made.due(f"stranger{tenth}", tenth / 10):
            made.trying(tenth / 10)
            made.loaded(KEYS, tenth / 10)
            fetches += 1
    assert fetches == 600 / 30 - 1


def test_a_key_that_the_issuer_withdrew_counts_no_more_once_fetched() -> None:
    made = loaded()
    made.trying(300)
    made.loaded(OTHERS, 300)
    assert made.find("k1", 300) is None
    assert made.find("k2", 300) is not None


def test_the_last_keys_count_while_the_issuer_is_away_and_not_for_ever() -> None:
    made = loaded()
    for second in range(300, 3600, 30):
        assert made.due("k1", second)
        made.trying(second)
        assert made.away
    assert made.find("k1", 3600) is not None
    assert made.find("k1", 3600.1) is None
