"""Small MP4 files, made as the renderer makes them: x264 in yuv420p at 30 frames a second."""

from __future__ import annotations

import io

import av
import numpy as np


def mp4(frames: int, width: int = 64, height: int = 64, container: str = "mp4") -> bytes:
    """A video whose n-th frame is the grey 7n."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            grey = np.full((height, width, 3), 7 * n % 256, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def greys(picture: bytes, width: int, height: int) -> list[int]:
    """The grey in the middle of each tile of a picture, row by row; its tiles have these sides."""
    with av.open(io.BytesIO(picture), "r") as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="gray")
    down, across = pixels.shape[0] // height, pixels.shape[1] // width
    return [
        int(pixels[y * height + height // 2, x * width + width // 2])
        for y in range(down)
        for x in range(across)
    ]
