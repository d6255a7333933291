from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest.webhooks.backoff import MOST_ASKED, SCHEDULE, delay, retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_delays_grow_from_seconds_over_three_days_and_then_end() -> None:
    middle = [delay(n, 0.5) for n in range(1, len(SCHEDULE) + 1)]
    assert middle == list(SCHEDULE) == sorted(SCHEDULE)
    assert SCHEDULE[0] == 5
    assert 3 * 86_400 <= sum(SCHEDULE) < 3.5 * 86_400
    assert delay(len(SCHEDULE) + 1, 0.5) is None
    assert delay(len(SCHEDULE) + 1, 0.5, 10) is None


def test_jitter_spreads_by_a_quarter_to_either_side() -> None:
    assert delay(1, 0.0) == SCHEDULE[0] * 0.75
    assert delay(1, 1.0) == SCHEDULE[0] * 1.25


def test_a_receiver_is_left_alone_as_it_asks_but_neither_shorter_nor_for_ever() -> None:
    assert delay(1, 0.5, 90) == 90
    assert delay(4, 0.5, 1) == SCHEDULE[3]
    assert delay(1, 0.5, 10**9) == MOST_ASKED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 60, 10**9),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("١٢", None),
        ("Sun, 99 Mar 2026 12:01:30 GMT", None),
        ("x" * 100_000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds
