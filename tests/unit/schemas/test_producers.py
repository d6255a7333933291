import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from schemas.producers import HEADER, NotProven, key_of, proven, token

SECRET = b"s" * 32
OLDER = b"o" * 32
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LIFE = timedelta(hours=24)
TOPIC = "ttv.jobs.requested.normal"
VALUE = b"\x00\x00\x00\x00\x01 a record"


def signed(
    tenant: str = "acme",
    topic: str = TOPIC,
    value: bytes = VALUE,
    life: timedelta = timedelta(hours=1),
    secret: bytes = SECRET,
) -> bytes:
    return token(key_of(secret, tenant), tenant, topic, value, NOW + life)


def whose(header: bytes | None, topic: str = TOPIC, value: bytes = VALUE) -> str:
    return proven(header, topic, value, (SECRET, OLDER), (NOW, LIFE))


def test_a_signed_record_proves_its_tenant() -> None:
    assert whose(signed()) == "acme"
    assert whose(signed("a.b-c_9")) == "a.b-c_9"


def test_the_header_is_what_its_documentation_says() -> None:
    key = hmac.new(SECRET, b"ttv-producer-key\0acme", "sha256").digest()
    expires = int((NOW + timedelta(hours=1)).timestamp())
    said = f"ttv-producer-v1\0acme\0{expires}\0{TOPIC}\0".encode() + hashlib.sha256(VALUE).digest()
    mac = hmac.new(key, said, "sha256").hexdigest()
    assert signed() == f"acme.{expires}.{mac}".encode()
    assert HEADER == "ttv-producer"


def test_a_rotated_secret_is_believed_as_long_as_it_is_listed() -> None:
    assert whose(signed(secret=OLDER)) == "acme"
    with pytest.raises(NotProven, match="another key"):
        whose(signed(secret=b"x" * 32))


def test_a_header_is_worth_nothing_on_another_record_or_topic() -> None:
    with pytest.raises(NotProven, match="not made for this record"):
        whose(signed(), value=VALUE + b"!")
    with pytest.raises(NotProven, match="not made for this record"):
        whose(signed(), topic="ttv.jobs.requested.high")


def test_a_tenants_key_signs_for_no_other_tenant() -> None:
    forged = token(key_of(SECRET, "mallory"), "acme", TOPIC, VALUE, NOW + LIFE / 2)
    with pytest.raises(NotProven):
        whose(forged)
    with pytest.raises(NotProven):
        whose(signed("mallory").replace(b"mallory", b"acme"))


def test_a_header_lives_no_longer_than_it_says_and_may_not_say_too_much() -> None:
    assert whose(signed(life=timedelta(0))) == "acme"
    assert whose(signed(life=LIFE)) == "acme"
    with pytest.raises(NotProven, match="expired"):
        whose(signed(life=timedelta(seconds=-1)))
    with pytest.raises(NotProven, match="at most"):
        whose(signed(life=LIFE + timedelta(seconds=1)))
    late = token(key_of(SECRET, "acme"), "acme", TOPIC, VALUE, NOW + timedelta(hours=2))
    with pytest.raises(NotProven):
        whose(late.replace(str(int(NOW.timestamp()) + 7200).encode(), b"9" * 12))


def test_time_is_not_judged_where_nobody_asks() -> None:
    old = signed(life=timedelta(days=-5))
    assert proven(old, TOPIC, VALUE, (SECRET,), None) == "acme"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"acme",
        b"acme.1.00",
        b".1." + b"0" * 64,
        b"acme.-1." + b"0" * 64,
        b"acme.1e9." + b"0" * 64,
        b"a\nb.1." + b"0" * 64,
        b"acme.1." + b"0" * 64 + b"\n",
        b"\xff" * 80,
        b"acme." + b"9" * 4000 + b"." + b"0" * 64,
    ],
)
def test_what_is_no_header_proves_nothing(header: bytes | None) -> None:
    with pytest.raises(NotProven):
        whose(header)
