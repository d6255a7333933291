from __future__ import annotations

from ingest.webhooks.backoff import SCHEDULE, delay


def test_delays_grow_for_hours_and_then_end() -> None:
    middle = [delay(n, 0.5) for n in range(1, len(SCHEDULE) + 1)]
    assert middle == list(SCHEDULE) == sorted(SCHEDULE)
    assert sum(SCHEDULE) > 12 * 3600
    assert delay(len(SCHEDULE) + 1, 0.5) is None


def test_jitter_spreads_by_a_quarter_to_either_side() -> None:
    assert delay(1, 0.0) == SCHEDULE[0] * 0.75
    assert delay(1, 1.0) == SCHEDULE[0] * 1.25
