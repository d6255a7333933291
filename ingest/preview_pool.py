"""Pictures of videos, made by child processes: few at a time, each with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ingest.metrics import PREVIEWS
from ingest.preview import Kind

#: Largest picture that is taken from a child.
MAX_PICTURE: Final = 8 * 1024 * 1024
#: What a child needs of the environment: how to find Python's modules, and no secret.
_INHERITED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL")


class PreviewFailed(Exception):
    """The video cannot be made a picture of, now or later."""


class PreviewsBusy(Exception):
    """More pictures are asked for than can be made: ask again in a while."""


class PreviewPool:
    """Makes pictures, ``at_most`` at a time; who waits longer than ``patience`` s is sent away."""

    def __init__(self, at_most: int = 2, waiting: int = 16, patience: float = 10.0) -> None:
        self._turns = asyncio.Semaphore(at_most)
        self._waiting = 0
        self._most_waiting = waiting
        self._patience = patience

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn at making a picture, with all that belongs to it.

        Raises:
            PreviewsBusy: too many wait already, or it takes too long.
        """
        if self._waiting >= self._most_waiting:
            PREVIEWS.labels("busy").inc()
            raise PreviewsBusy
        self._waiting += 1
        try:
            await asyncio.wait_for(self._turns.acquire(), self._patience)
        except TimeoutError:
            PREVIEWS.labels("busy").inc()
            raise PreviewsBusy from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


async def make(kind: Kind, video: Path, frames: int, deadline: float = 30.0) -> bytes:
    """The picture of a video, made by a process of its own. Take a turn first.

    Args:
        kind: Which picture.
        video: The MP4.
        frames: How many it has.
        deadline: Seconds after which the process is killed.

    Raises:
        PreviewFailed: the video is none that can be read, or reading it takes too long.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ingest.preview", kind, str(video), str(frames)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
    )
    try:
        async with asyncio.timeout(deadline):
            picture = await _read(child)
            status = await child.wait()
    except TimeoutError:
        picture, status = b"", -1
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    PREVIEWS.labels("failed" if status or not picture else "made").inc()
    if status or not picture:
        raise PreviewFailed
    return picture


async def _read(child: asyncio.subprocess.Process) -> bytes:
    found = bytearray()
    while child.stdout is not None and (chunk := await child.stdout.read(65536)):
        found += chunk
        if len(found) > MAX_PICTURE:
            return b""
    return bytes(found)
