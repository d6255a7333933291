from __future__ import annotations

import pytest

from ingest.api.prefer import wait_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('respond-async, wait="7"; x=y', 7),
        ("wait=5, wait=9", 5),
        ("wait=61", 60),
        ("wait=999999999", 60),
        ("wait=0", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=ten", None),
        ("await=3", None),
        ("wait=" + "9" * 5000, None),
    ],
)
def test_a_preference_is_applied_cut_or_ignored(header: str | None, seconds: int | None) -> None:
    assert wait_seconds(header) == seconds
