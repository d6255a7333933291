from __future__ import annotations

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from ingest.identity.api_key import MAX_LENGTH, hash_of, mistyped, new_secret, prefix_of

KEY_ID = uuid.UUID("6fa4591c-20be-4f6e-9d9c-1f9d6f8e2a11")


def test_a_secret_begins_with_its_keys_id_and_has_256_random_bits() -> None:
    secret = new_secret(KEY_ID)
    assert re.fullmatch(r"ttv_6fa4591c20be_[A-Za-z0-9_-]{43}[0-9a-f]{8}", secret)
    assert secret.startswith(prefix_of(KEY_ID))
    assert len(secret) < MAX_LENGTH
    assert len({new_secret(KEY_ID) for _ in range(1000)}) == 1000


def test_what_is_stored_does_not_hold_the_secret() -> None:
    secret = new_secret(KEY_ID)
    assert len(hash_of(secret)) == 32
    assert secret.encode() not in hash_of(secret)


@given(st.integers(0, 67), st.sampled_from("abcdef0123456789XYZ-_"))
def test_one_wrong_character_is_told_without_a_look_up(place: int, character: str) -> None:
    secret = new_secret(KEY_ID, lambda _: "A" * 43)
    wrong = secret[:place] + character + secret[place + 1 :]
    assert not mistyped(secret)
    shaped = re.fullmatch(r"ttv_[0-9a-f]{12}_[A-Za-z0-9_-]{43}[0-9a-f]{8}", wrong) is not None
    assert mistyped(wrong) == (shaped and wrong != secret)


def test_keys_of_other_shapes_are_left_to_the_look_up() -> None:
    for key in ("local-key", "ttv_" + "x" * 43, "", "ttv_6fa4591c20be_short"):
        assert not mistyped(key)
