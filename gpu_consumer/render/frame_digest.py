"""What tells two videos apart before they are encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from gpu_consumer.render.encode import Frame


class FrameDigest:
    """SHA-256 over the bytes of raw frames, and their count, as they pass by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def over(self, passing: Iterator[Frame], each: Callable[[], None]) -> Iterator[Frame]:
        """Yields ``passing`` on; calls ``each`` before every frame."""
        for frame in passing:
            each()
            self._hash.update(frame.data)
            self.count += 1
            yield frame

    def hexdigest(self) -> str:
        """Of all frames so far: uint8, T x H x W x 3."""
        return self._hash.hexdigest()
