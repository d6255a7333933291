"""A short storm: every part struck while jobs flow in, and nothing lost, repeated or torn."""

from __future__ import annotations

import pytest

from tests.chaos.storm import BRIEF, storm

SEED = 1


@pytest.mark.timeout(300)
def test_a_short_storm_leaves_a_clean_history() -> None:
    report = storm(SEED, BRIEF)
    assert report.ok, "\n".join(report.text())
    assert report.hits >= BRIEF.faults
    assert report.verdict.terminal_events == report.verdict.accepted >= BRIEF.jobs
    assert report.replayed > 0
