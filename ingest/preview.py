"""Pictures of a video: a thumbnail, and a sheet of its frames. Run as a program of its own.

    python -m ingest.preview thumbnail|spritesheet VIDEO FRAMES

writes the picture to standard output. It decodes what it is given in a process that may use little
memory and time and knows no secrets, so that a corrupt video costs that process and nothing else.
Any status but 0: there is no picture.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal, cast, get_args

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from schemas.job import MAX_FRAMES, MAX_HEIGHT, MAX_WIDTH

Kind = Literal["thumbnail", "spritesheet"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

#: A sheet has up to so many pictures, of so many pixels' width, in rows from left to right.
TILES, COLUMNS, TILE_WIDTH = 25, 5, 160
_MEMORY: Final = 2 * 1024**3
_CPU_SECONDS: Final = 30


class Unpicturable(ValueError):
    """The video is not one that this service makes."""


def sheet_frames(frames: int) -> list[int]:
    """Which frames a sheet shows: all, or so many of them evenly spread, ends included."""
    shown = min(frames, TILES)
    return [n * (frames - 1) // max(1, shown - 1) for n in range(shown)]


def thumbnail(video: Path, frames: int) -> bytes:
    """The frame in the middle of the video, WebP.

    Raises:
        Unpicturable, av.FFmpegError: it cannot be read.
    """
    last = None
    for n, frame in enumerate(_frames(video)):
        last = frame
        if n == frames // 2:
            return _encoded(frame, "libwebp", "yuv420p")
    raise Unpicturable("fewer frames than it was said to have" if last else "no frames")


def spritesheet(video: Path, frames: int) -> bytes:
    """Frames of the video in rows of five, JPEG.

    Raises:
        Unpicturable, av.FFmpegError: it cannot be read.
    """
    wanted = sheet_frames(frames)
    tiles = []
    for n, frame in enumerate(_frames(video)):
        if n in wanted:
            height = max(2, round(TILE_WIDTH * frame.height / frame.width / 2) * 2)
            small = frame.reformat(width=TILE_WIDTH, height=height, format="rgb24")
            tiles.append(small.to_ndarray())
    if len(tiles) != len(wanted) or len({tile.shape for tile in tiles}) != 1:
        raise Unpicturable("fewer frames than it was said to have, or of several sizes")
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(COLUMNS, len(tiles)))
    across = min(COLUMNS, len(tiles))
    rows = [np.hstack(tiles[n : n + across]) for n in range(0, len(tiles), across)]
    sheet = VideoFrame.from_ndarray(np.ascontiguousarray(np.vstack(rows)), format="rgb24")
    return _encoded(sheet, "mjpeg", "yuvj420p")


def _frames(video: Path) -> Iterator[VideoFrame]:
    with av.open(str(video), format="mp4") as container:
        stream = container.streams.video[0]
        if stream.width > MAX_WIDTH or stream.height > MAX_HEIGHT:
            raise Unpicturable("larger than this service makes them")
        stream.thread_type = "NONE"
        for n, frame in enumerate(container.decode(stream)):
            if n >= MAX_FRAMES:
                raise Unpicturable("longer than this service makes them")
            yield frame


def _encoded(frame: VideoFrame, codec: str, pixels: str) -> bytes:
    encoder = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt, encoder.time_base = pixels, Fraction(1, 30)
    picture = frame.reformat(format=pixels)
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def main(kind: str, video: str, frames: str) -> int:
    """Write the picture; the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    make = {"thumbnail": thumbnail, "spritesheet": spritesheet}[kind]
    try:
        sys.stdout.buffer.write(make(Path(video), int(frames)))
    except (Unpicturable, av.FFmpegError, IndexError, MemoryError, ValueError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
