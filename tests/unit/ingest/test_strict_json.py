from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.strict_json import MalformedJson, parse_object

_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=20,
)


@given(value=st.dictionaries(st.text("abcd"), _plain), ascii_only=st.booleans())
def test_plain_json_reads_as_it_was_written(value: dict[str, object], *, ascii_only: bool) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=300))
def test_any_bytes_give_an_object_or_one_error(body: bytes) -> None:
    with contextlib.suppress(MalformedJson):
        assert isinstance(parse_object(body), dict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": ' + b"1" * 21 + b"}",
        b'{"a": "\\ud83d"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xc0\x80"}',
        b'{"a":' * 20_000,
        b"[1]",
        b"1",
        b"",
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_object(body)


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_object(b'{"a": "\\ud83e\\udd8a"}') == {"a": "\U0001f98a"}


def test_the_message_does_not_quote_the_body() -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_object(b'{"prompt": "secret words", }')
    assert "secret" not in str(caught.value)
