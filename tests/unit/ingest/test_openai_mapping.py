from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.openai import mapping, shapes
from ingest.read_model import Placed, job_columns
from schemas.job import MAX_FRAMES
from tests.unit.ingest.events import happened, job


def row(*kinds: str) -> dict[str, Any]:
    """A job's row after these events."""
    events = happened(job(), *kinds)
    found = job_columns(Placed(events[-1], 0, 0)) | {"created_at": events[0].submitted_at}
    return found | {"progress": None, "video_expires_at": None, "video_gone_at": None}


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [("4", 121), ("8", 241), ("10", 301), ("5.4", 163), ("0.2", 7), ("0.21", 13), ("1", 31)],
)
def test_seconds_become_whole_latents_after_a_first_frame(seconds: str, frames: int) -> None:
    assert mapping.frames_of(seconds) == frames


@pytest.mark.parametrize(
    "seconds",
    ["", "0", "0.0", "12", "10.1", "-4", "4s", "1e1", "NaN", "inf", " 4", "4.", "٤", "9" * 99],
)
def test_what_is_no_length_of_a_clip_is_none(seconds: str) -> None:
    assert mapping.frames_of(seconds) is None


def test_every_length_that_can_be_rendered_is_told_so_that_it_can_be_asked_for() -> None:
    for frames in range(7, MAX_FRAMES + 1, 6):
        assert mapping.frames_of(mapping.seconds_of(frames)) == frames


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ("848x480", (848, 480)),
        ("64x64", (64, 64)),
        ("850x481", (850, 481)),
        ("0x480", None),
        ("848X480", None),
        ("848x480 ", None),
        ("848", None),
        ("99999x480", None),
        ("٤٤٤x480", None),
    ],
)
def test_a_size_is_read_to_the_letter(size: str, sides: tuple[int, int] | None) -> None:
    assert mapping.sides_of(size) == sides


def test_documents_name_what_can_be_asked_for() -> None:
    for size in ("32x32", "848x480", "1360x768"):
        assert re.fullmatch(mapping.SIZE_PATTERN, size)
    for size in ("16x32", "850x480", "720x1280", "1376x768"):
        assert not re.fullmatch(mapping.SIZE_PATTERN, size)
    for seconds in ("0.2", "1", "5.4", "9.999999", "10"):
        assert re.fullmatch(mapping.SECONDS_PATTERN, seconds)
        assert mapping.frames_of(seconds)
    for seconds in ("0", "0.0", "10.1", "11", ""):
        assert not re.fullmatch(mapping.SECONDS_PATTERN, seconds)


def test_a_new_video_has_every_key_of_the_contract() -> None:
    video = shapes.video(row("Admitted"))
    shown = video.model_dump()
    assert set(shown) >= {
        *("id", "object", "model", "status", "progress", "created_at", "completed_at"),
        *("expires_at", "prompt", "size", "seconds", "remixed_from_video_id", "error"),
    }
    assert (video.status, video.progress, video.size, video.seconds) == (
        *("queued", 0, "848x480", "5.4"),
    )
    assert (video.model, video.prompt, video.error, video.links.content) == (
        *("mochi-1", "a fox", None, None),
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Scheduled", "queued"),
        ("Preempted", "queued"),
        ("Retrying", "queued"),
        ("Started", "in_progress"),
        ("Completed", "completed"),
        ("Failed", "failed"),
        ("Refused", "failed"),
        ("Expired", "failed"),
        ("Cancelled", "cancelled"),
    ],
)
def test_each_state_of_a_job_has_a_status(kind: str, status: str) -> None:
    video = shapes.video(row("Admitted", kind))
    assert video.status == status
    assert (video.error is not None) == (status == "failed")
    ended = status in {"completed", "failed", "cancelled"}
    assert (video.completed_at is not None) == ended
    assert (video.progress == 100) == (status == "completed")


def test_a_job_that_was_refused_unread_still_has_every_key() -> None:
    video = shapes.video(row("Refused") | {"spec": None})
    assert (video.prompt, video.size, video.seconds) == (None, "848x480", "5.4")


@pytest.mark.parametrize(
    ("report", "percent"),
    [
        (None, 0),
        ({"step": 0, "total": 64}, 0),
        ({"step": 1, "total": 64}, 1),
        ({"step": 64, "total": 64}, 99),
        ({"step": 5, "total": 0}, 0),
        ({"step": None, "total": None}, 0),
        ({"step": 99, "total": 9}, 99),
    ],
)
def test_progress_is_the_share_of_steps_and_full_only_with_a_video(
    report: Any, percent: int
) -> None:
    assert shapes.video(row("Started") | {"progress": report}).progress == percent


def test_a_kept_video_says_until_when_and_a_gone_one_has_no_link() -> None:
    until = datetime(2026, 1, 1, tzinfo=UTC)
    kept = shapes.video(row("Completed") | {"video_expires_at": until})
    assert kept.expires_at == until.timestamp()
    assert kept.links.content == f"/v1/videos/{kept.id}/content"
    gone = shapes.video(row("Completed") | {"video_expires_at": until, "video_gone_at": until})
    assert (gone.status, gone.links.content) == ("completed", None)


def test_the_longer_a_video_takes_the_less_often_it_is_asked_for() -> None:
    found = [mapping.poll_after_ms(age) for age in (-5, 0, 20, 100, 200, 9999)]
    assert found == [1000, 1000, 1000, 5000, 10_000, 10_000]


def test_a_page_says_where_the_next_one_begins() -> None:
    rows = [row("Admitted") for _ in range(3)]
    page = shapes.page(rows, 2)
    assert [page.first_id, page.last_id] == [video.id for video in page.data]
    assert (len(page.data), page.has_more) == (2, True)
    assert shapes.page(rows, 3).has_more is False
    empty = shapes.page([], 0)
    assert (empty.data, empty.first_id, empty.last_id, empty.has_more) == ([], None, None, False)


def test_times_are_unix_seconds() -> None:
    found = shapes.video(row("Admitted") | {"created_at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert found.created_at == 1767225600
