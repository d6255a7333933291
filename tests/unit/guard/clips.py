"""Small real MP4 files, made by PyAV."""

from __future__ import annotations

import io
import struct
import tempfile
from typing import Any

import av
import numpy as np


def clip(
    frames: int = 7,
    width: int = 32,
    height: int = 32,
    fps: int = 30,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> bytes:
    """An MP4 of ``frames`` grey frames."""
    # A file, since an index in front makes the muxer read again what it wrote.
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w", format="mp4", options=options or {}) as container:
            stream: Any = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(frames):
                container.mux(stream.encode(_grey(number, width, height)))
            container.mux(stream.encode())
        return file.read()


def with_sound() -> bytes:
    """A clip with an audio track beside its video."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        video: Any = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound: Any = container.add_stream("aac", rate=48000)
        for number in range(7):
            container.mux(video.encode(_grey(number, 32, 32)))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.rate = 48000
        container.mux(sound.encode(samples))
        container.mux(video.encode())
        container.mux(sound.encode())
    return out.getvalue()


def _grey(number: int, width: int, height: int) -> av.VideoFrame:
    pixels = np.full((height, width, 3), number * 20 % 256, np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


def resized_box(data: bytes, name: bytes, size: int) -> bytes:
    """``data`` with the first box called ``name`` claiming to be ``size`` bytes long."""
    at = data.index(name) - 4
    return data[:at] + struct.pack(">I", size) + data[at + 4 :]


def huge_box(size: int) -> bytes:
    """A file that begins well and goes on with a box of a 64-bit ``size``."""
    start = clip()[:32]
    return start + struct.pack(">I4sQ", 1, b"mdat", size) + b"\0" * 64
