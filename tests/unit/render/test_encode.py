"""Frames to MP4: playable, exact, the same bytes every time, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gpu_consumer.render.encode import Frame, encode


def clip(count: int, width: int, height: int) -> list[Frame]:
    """Coloured blocks that change from frame to frame."""
    blocks = np.random.default_rng(5).integers(0, 256, (count, height // 16, width // 16, 3))
    return list(blocks.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("count", "width", "height", "fps"),
    [(1, 32, 32, 30), (7, 64, 48, 30), (31, 256, 144, 30), (13, 48, 80, 24)],
)
def test_the_file_is_h264_with_exact_size_count_and_time(
    tmp_path: Path, count: int, width: int, height: int, fps: int
) -> None:
    path = tmp_path / "clip.mp4"
    assert encode(clip(count, width, height), path, width=width, height=height, fps=fps) == count
    with av.open(str(path)) as container:
        [stream] = container.streams.video
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.codec_context.width, stream.codec_context.height) == (width, height)
        assert stream.average_rate == fps
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == Fraction(count, fps)
        times = [frame.time for frame in container.decode(stream)]
    assert times == [float(Fraction(index, fps)) for index in range(count)]


def test_the_index_comes_first_so_that_a_browser_plays_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(clip(7, 64, 64), path, width=64, height=64, fps=30)
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    for path in (first, second):
        encode(clip(61, 320, 192), path, width=320, height=192, fps=30)
    assert first.read_bytes() == second.read_bytes()


def test_one_thread_alone_decides_the_bytes(tmp_path: Path) -> None:
    # With more, x264's output differs now and then: too seldom for a test to see it.
    path = tmp_path / "clip.mp4"
    encode(clip(7, 128, 128), path, width=128, height=128, fps=30)
    assert b" threads=1 lookahead_threads=1 sliced_threads=0 " in path.read_bytes()


def test_the_colours_come_back(tmp_path: Path) -> None:
    path, frames = tmp_path / "clip.mp4", clip(7, 128, 128)
    encode(frames, path, width=128, height=128, fps=30)
    with av.open(str(path)) as container:
        shown = [
            frame.to_ndarray(format="rgb24", src_colorspace="ITU709")
            for frame in container.decode(video=0)
        ]
    difference = np.abs(np.stack(shown).astype(int) - np.stack(frames))
    assert difference.mean() < 6


def test_a_failure_midway_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from clip(3, 64, 64)
        raise RuntimeError("the device fell off")

    with pytest.raises(RuntimeError, match="fell off"):
        encode(broken(), tmp_path / "clip.mp4", width=64, height=64, fps=30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frame", [np.zeros((64, 48, 3), np.uint8), np.zeros((64, 64, 3), np.float32)]
)
def test_a_wrong_frame_is_refused(tmp_path: Path, frame: Frame) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        encode([frame], tmp_path / "clip.mp4", width=64, height=64, fps=30)
    assert list(tmp_path.iterdir()) == []


def test_no_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        encode([], tmp_path / "clip.mp4", width=64, height=64, fps=30)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_is_kept_when_encoding_fails(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="no frames"):
        encode([], path, width=64, height=64, fps=30)
    assert path.read_bytes() == b"before"
