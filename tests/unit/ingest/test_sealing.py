from __future__ import annotations

import base64
import os

import pytest

from ingest.webhooks.sealing import Keyring, Unreadable

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
OLD, NEW = os.urandom(32), os.urandom(32)


def test_a_sealed_secret_opens_with_its_key_and_shows_nothing_of_itself() -> None:
    stored = Keyring([OLD]).seal(SECRET, "endpoint")
    assert SECRET not in stored
    assert SECRET.removeprefix("whsec_") not in stored
    assert Keyring([OLD]).open(stored, "endpoint") == SECRET
    assert Keyring([OLD]).seal(SECRET, "endpoint") != stored


def test_the_first_key_seals_and_every_key_opens() -> None:
    before = Keyring([OLD]).seal(SECRET, "endpoint")
    both = Keyring([NEW, OLD])
    assert both.open(before, "endpoint") == SECRET
    after = both.seal(SECRET, "endpoint")
    assert Keyring([NEW]).open(after, "endpoint") == SECRET
    assert after.startswith(str(both.fresh()))
    assert not before.startswith(str(both.fresh()))
    with pytest.raises(Unreadable):
        Keyring([OLD]).open(after, "endpoint")


def test_a_sealed_secret_opens_for_no_other_endpoint_and_not_when_changed() -> None:
    ring = Keyring([OLD])
    stored = ring.seal(SECRET, "endpoint")
    with pytest.raises(Unreadable):
        ring.open(stored, "other")
    name, data = stored.rsplit(".", 1)
    raw = bytearray(base64.b64decode(data))
    raw[-1] ^= 1
    for damaged in (f"{name}.{base64.b64encode(raw).decode()}", f"{name}.", f"{name}.!", name):
        with pytest.raises(Unreadable):
            ring.open(damaged, "endpoint")


def test_without_keys_secrets_are_stored_as_they_are_and_plain_ones_open_with_any() -> None:
    assert Keyring().seal(SECRET, "endpoint") == SECRET
    assert Keyring().fresh() is None
    assert Keyring([OLD]).open(SECRET, "endpoint") == SECRET
    with pytest.raises(Unreadable):
        Keyring().open(Keyring([OLD]).seal(SECRET, "endpoint"), "endpoint")


def test_keys_come_from_the_setting_and_a_wrong_one_is_not_quoted() -> None:
    text = ", ".join(base64.b64encode(key).decode() for key in (NEW, OLD))
    assert Keyring.of(text).fresh() == Keyring([NEW]).fresh()
    assert Keyring.of(" , ").fresh() is None
    for wrong in ("c2hvcnQ=", "no base64!"):
        with pytest.raises(ValueError, match="TTV_SECRETS_KEY") as raised:
            Keyring.of(wrong)
        assert wrong not in str(raised.value)
