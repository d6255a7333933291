from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest

from ingest.preview import TILE_WIDTH, Unpicturable, sheet_frames, spritesheet, thumbnail
from ingest.preview_pool import PreviewFailed, PreviewPool, PreviewsBusy, make
from tests.support.mp4 import greys, mp4


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(mp4(13))
    return path


def near(found: list[int], wanted: list[int]) -> bool:
    return len(found) == len(wanted) and all(
        abs(f - w) <= 6 for f, w in zip(found, wanted, strict=True)
    )


def test_a_thumbnail_is_the_frame_in_the_middle(video: Path) -> None:
    picture = thumbnail(video, 13)
    assert picture[:4] + picture[8:12] == b"RIFFWEBP"
    assert near(greys(picture, 64, 64), [7 * 6])


def test_a_sheet_shows_the_frames_in_their_order(video: Path) -> None:
    picture = spritesheet(video, 13)
    assert picture[:2] == b"\xff\xd8"
    found = greys(picture, TILE_WIDTH, TILE_WIDTH)
    assert near(found, [7 * n for n in range(13)] + [0, 0])


def test_a_sheet_is_spread_over_the_whole_video() -> None:
    assert sheet_frames(1) == [0]
    assert sheet_frames(7) == list(range(7))
    assert (sheet_frames(301)[0], sheet_frames(301)[-1], len(sheet_frames(301))) == (0, 300, 25)
    for frames in range(1, 302):
        found = sheet_frames(frames)
        assert found == sorted(set(found))
        assert found[-1] == frames - 1


def test_a_single_frame_has_both(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    path.write_bytes(mp4(1))
    assert near(greys(thumbnail(path, 1), 64, 64), [0])
    assert near(greys(spritesheet(path, 1), TILE_WIDTH, TILE_WIDTH), [0])


def test_a_video_of_fewer_frames_or_larger_than_ours_has_no_picture(
    video: Path, tmp_path: Path
) -> None:
    with pytest.raises(Unpicturable):
        thumbnail(video, 31)
    with pytest.raises(Unpicturable):
        spritesheet(video, 31)
    wide = tmp_path / "wide.mp4"
    wide.write_bytes(mp4(1, width=1376))
    with pytest.raises(Unpicturable):
        thumbnail(wide, 1)
    long = tmp_path / "long.mp4"
    long.write_bytes(mp4(302, width=32, height=32))
    with pytest.raises(Unpicturable):
        spritesheet(long, 302)


def test_other_formats_are_not_even_tried(tmp_path: Path) -> None:
    other = tmp_path / "video.mp4"
    other.write_bytes(mp4(1, container="matroska"))
    with pytest.raises(av.FFmpegError):
        thumbnail(other, 1)


async def test_a_child_makes_the_same_picture(video: Path) -> None:
    assert await make("thumbnail", video, 13) == thumbnail(video, 13)


def test_a_corrupt_video_has_no_picture_and_costs_its_child_alone(video: Path) -> None:
    whole = video.read_bytes()
    for content in (b"", whole[:200], bytes(2000), whole.replace(b"avcC", b"xxxx")):
        video.write_bytes(content)
        with pytest.raises((Unpicturable, av.FFmpegError)):
            thumbnail(video, 13)
    with pytest.raises(PreviewFailed):
        asyncio.run(make("thumbnail", video, 13))


async def test_a_child_that_takes_too_long_is_killed(video: Path) -> None:
    with pytest.raises(PreviewFailed):
        await make("thumbnail", video, 13, deadline=0.01)


async def test_few_are_made_at_a_time_and_few_wait() -> None:
    pool = PreviewPool(at_most=1, waiting=1, patience=30)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with pool.turn():
            held.set()
            await let_go.wait()

    first = asyncio.create_task(hold())
    await held.wait()
    second = asyncio.create_task(hold())
    await asyncio.sleep(0)
    with pytest.raises(PreviewsBusy):
        async with pool.turn():
            pass
    let_go.set()
    await asyncio.gather(first, second)
    async with pool.turn():
        pass


async def test_nobody_waits_for_ever() -> None:
    pool = PreviewPool(at_most=1, patience=0.01)
    async with pool.turn():
        with pytest.raises(PreviewsBusy):
            async with pool.turn():
                pass
