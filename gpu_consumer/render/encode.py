"""Raw frames to an H.264 MP4 that browsers play, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
)

from gpu_consumer.render.durable import publish
from gpu_consumer.render.job import unfinished

#: cpu-independent: without it x264's output differs between runs. One thread: with four, slices or
#: not, one clip in a hundred came out with other bytes from the same frames.
X264_PARAMS: Final = "cpu-independent=1:threads=1:lookahead-threads=1:sync-lookahead=0"
OPTIONS: Final = {"preset": "medium", "crf": "18", "profile": "high", "x264-params": X264_PARAMS}
#: The exact code paths of the scaler: the fast ones round by what the processor has.
SCALER: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

Frame = np.ndarray[Any, np.dtype[np.uint8]]


def encode(frames: Iterable[Frame], path: Path, *, width: int, height: int, fps: int) -> int:
    """Writes ``frames`` to ``path`` and returns how many there were.

    Args:
        frames: each uint8, H x W x 3, RGB; ``width`` and ``height`` are even.
        width: pixels a row.
        height: rows.
        fps: frames a second.
        path: appears whole and durable, or not at all; ``unfinished(path)`` is used on the way.

    Raises:
        ValueError: a frame of another shape or type, or no frame.
        OSError: the disk is full or the folder cannot be written.
    """
    part = unfinished(path)
    try:
        count = _write(frames, part, width, height, fps)
        publish(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return count


def _write(frames: Iterable[Frame], part: Path, width: int, height: int, fps: int) -> int:
    count = 0
    # +faststart puts the index first, so that a browser can play while it loads; +bitexact keeps
    # the muxer's version out of the file; in the default milliseconds a clip's length would not be
    # a whole number of frames.
    options = {
        "movflags": "+faststart",
        "fflags": "+bitexact",
        "movie_timescale": str(fps * 1000),
        "video_track_timescale": str(fps * 1000),
    }
    with av.open(str(part), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=fps, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, fps)
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = Colorspace.ITU709
        for pixels in frames:
            if pixels.shape != (height, width, 3) or pixels.dtype != np.uint8:
                raise ValueError(f"a frame of {pixels.dtype} {pixels.shape}")
            container.mux(stream.encode(_picture(pixels, count, fps)))
            count += 1
        if not count:
            raise ValueError("no frames")
        container.mux(stream.encode(None))
    return count


def _picture(pixels: Frame, index: int, fps: int) -> av.VideoFrame:
    """One frame in BT.709 yuv420p, shown from ``index / fps`` s for ``1 / fps`` s."""
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    picture = rgb.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_color_trc=ColorTrc.BT709,
        dst_color_primaries=ColorPrimaries.BT709,
        interpolation=SCALER,
        threads=1,
    )
    picture.pts, picture.duration, picture.time_base = index, 1, Fraction(1, fps)
    return picture
