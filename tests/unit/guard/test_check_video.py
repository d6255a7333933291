"""What the guard seals, and what it refuses to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpu_consumer.render.encode import encode
from rust_guard import BadArtifact, FailureClass, check_video
from tests.unit.guard.clips import clip, huge_box, resized_box, with_sound


def reason(data: bytes, frames: int = 7, fps: int = 30, width: int = 32, height: int = 32) -> str:
    with pytest.raises(BadArtifact) as caught:
        check_video(data, frames, fps, width, height)
    assert caught.value.code == "bad_output"
    assert caught.value.failure_class is FailureClass.RETRYABLE
    return caught.value.reason


@pytest.mark.parametrize(
    ("frames", "width", "height", "fps"),
    [(1, 32, 32, 30), (7, 64, 48, 30), (31, 256, 144, 24), (61, 32, 64, 15)],
)
def test_a_good_clip_passes(frames: int, width: int, height: int, fps: int) -> None:
    check_video(clip(frames, width, height, fps), frames, fps, width, height)


def test_a_clip_with_its_index_in_front_passes() -> None:
    check_video(clip(options={"movflags": "+faststart"}), 7, 30, 32, 32)


def test_what_the_gpu_consumer_encodes_passes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    frames = np.random.default_rng(1).integers(0, 256, (13, 48, 64, 3), np.uint8)
    encode(list(frames), path, width=64, height=48, fps=30)
    check_video(path.read_bytes(), 13, 30, 64, 48)


@pytest.mark.parametrize("frames", [6, 8, 0, 2**32 - 1])
def test_another_number_of_frames_is_refused(frames: int) -> None:
    assert reason(clip(), frames=frames) == "frame_count"


def test_another_size_is_refused() -> None:
    assert reason(clip(7, 64, 32), width=32, height=64) == "dimensions"


def test_another_rate_is_refused() -> None:
    assert reason(clip(fps=24)) == "duration"


@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}], ids=["index-last", "first"])
def test_every_truncation_is_refused(options: dict[str, str]) -> None:
    data = clip(options=options)
    assert {reason(data[:length]) for length in range(0, len(data), 7)} <= {
        "not_mp4",
        "no_moov",
        "truncated",
    }


def test_a_fragmented_file_is_refused() -> None:
    assert reason(clip(options={"movflags": "frag_keyframe+empty_moov"})) == "bad_moov"


def test_another_codec_is_refused() -> None:
    assert reason(clip(codec="mpeg4")) == "codec"


def test_a_second_track_is_refused() -> None:
    assert reason(with_sound()) == "tracks"


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"\0" * 4096,
        lambda: b"\xff" * 4096,
        lambda: b"<html>not a video</html>" * 40,
        lambda: np.random.default_rng(3).bytes(65536),
    ],
    ids=["empty", "zeros", "ones", "html", "noise"],
)
def test_garbage_is_refused(make: Callable[[], bytes]) -> None:
    assert reason(make()) in {"not_mp4", "truncated"}


@pytest.mark.parametrize("size", [2**31, 2**40, 2**63, 2**64 - 1])
def test_a_huge_box_is_refused_without_being_allocated(size: int) -> None:
    assert reason(huge_box(size)) == "truncated"


@pytest.mark.parametrize("name", [b"mdat", b"moov", b"trak", b"stbl", b"stsz", b"stsd"])
@pytest.mark.parametrize("size", [1, 7, 2**31, 2**32 - 1])
def test_a_box_that_lies_about_its_size_is_refused(name: bytes, size: int) -> None:
    assert reason(resized_box(clip(), name, size))
