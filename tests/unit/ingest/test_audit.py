from __future__ import annotations

from ingest.identity.audit import bounded, bounded_details


def test_what_an_event_holds_is_short_and_breaks_no_line() -> None:
    assert bounded("key:1\r\nSet-Cookie: x\x00\u202e") == "key:1??Set-Cookie: x??"
    assert len(bounded("x" * 100_000)) == 512


def test_an_event_has_few_details() -> None:
    details = bounded_details({f"k{n}": "v" * 9000 for n in range(100)})
    assert list(details) == [f"k{n}" for n in range(16)]
    assert {len(value) for value in details.values()} == {512}
