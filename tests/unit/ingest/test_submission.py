from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.submission import InvalidSubmission, submission
from schemas.job import spec_digest
from schemas.records import JobRequested

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def broken(**fields: Any) -> list[tuple[str, str]]:
    """The rules that a body breaks."""
    with pytest.raises(InvalidSubmission) as caught:
        submission({"prompt": "secret words"} | fields, "t", NOW)
    assert "secret" not in str(caught.value.errors)
    return [(error.field, error.code) for error in caught.value.errors]


def test_what_is_left_out_or_null_stays_null() -> None:
    made = submission({"prompt": "x", "width": None}, "t", NOW)
    assert made.request == JobRequested(tenant_id="t", prompt="x")
    assert made.priority == "normal"
    assert spec_digest(made.request) == spec_digest(JobRequested(tenant_id="kafka", prompt="x"))


def test_an_integer_is_a_number_and_a_whole_number_an_integer() -> None:
    assert submission({"prompt": "x", "guidance_scale": 4}, "t", NOW).request.guidance_scale == 4.0
    assert submission({"prompt": "x", "num_frames": 7.0}, "t", NOW).request.num_frames == 7
    assert broken(num_frames=7.5) == [("num_frames", "invalid")]
    assert broken(width="64") == [("width", "invalid")]
    assert broken(seed=True) == [("seed", "invalid")]


def test_every_broken_rule_is_listed_at_once() -> None:
    assert broken(width=63, height=3, num_frames=8) == [
        ("width", "invalid_width"),
        ("height", "invalid_height"),
        ("num_frames", "invalid_num_frames"),
    ]


def test_the_tenant_never_comes_from_the_body() -> None:
    assert broken(tenant_id="other") == [("tenant_id", "unknown_field")]


def test_a_pool_that_is_not_served_is_refused() -> None:
    assert broken(pool="other") == [("pool", "unknown_pool")]
    assert broken(pool="../x") == [("pool", "unknown_pool")]


@pytest.mark.parametrize(
    "time",
    ["2026-06-01", "2026-06-01T00:00:00", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-10:00"],
)
def test_a_time_needs_its_offset_and_must_exist(time: str) -> None:
    assert broken(expires_at=time) == [("expires_at", "invalid")]


def test_times_are_read_to_the_microsecond_in_any_offset() -> None:
    made = submission(
        {"prompt": "x", "expires_at": "2026-06-01t02:00:00.123456789+02:00"}, "t", NOW
    )
    assert made.request.expires_at == datetime(2026, 6, 1, 0, 0, 0, 123456, UTC)


def test_a_fingerprint_covers_the_whole_request() -> None:
    base = submission({"prompt": "x"}, "t", NOW).fingerprint()
    assert submission({"prompt": "x", "seed": None}, "t", NOW).fingerprint() == base
    for other in ({"priority": "low"}, {"metadata": {"a": "b"}}, {"seed": 1}):
        assert submission({"prompt": "x"} | other, "t", NOW).fingerprint() != base


def test_field_names_are_cut_and_made_printable() -> None:
    [(field, code)] = broken(**{"\x1b[31m" + "x" * 500: 1})
    assert code == "unknown_field"
    assert len(field) <= 64
    assert field.isprintable()
