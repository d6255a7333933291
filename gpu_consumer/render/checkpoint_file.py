"""What checkpoint files of every renderer share: their metadata, and how they are read in.

Imports no torch.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gpu_consumer.render.job import RenderJob

#: Bytes of a header; ours have about 1,500. It also bounds how many tensors one can name.
MAX_HEADER: Final = 16 * 1024


class CheckpointRefused(Exception):
    """This file is no checkpoint of this job for this model: render from the first step."""


def identity(fingerprint: str) -> str:
    """The beginning of a fingerprint: the model, its weights and dtype, and not on what it runs."""
    return ";".join(fingerprint.split(";")[:3])


def metadata(form: str, job: RenderJob, step: int, fingerprint: str) -> dict[str, str]:
    """What a checkpoint of format ``form`` says of itself; of the prompts only the job's id."""
    return {
        "format": form,
        "job_id": job.job_id,
        "step": str(step),
        "total": str(job.num_inference_steps),
        "guidance": repr(float(job.guidance_scale)),
        "seed": str(job.seed),
        "size": f"{job.width}x{job.height}x{job.num_frames}",
        "fingerprint": fingerprint,
    }


def content(path: Path, size: int) -> bytes:
    """The bytes of a file with ``size`` bytes of tensors behind a bounded header.

    Raises:
        CheckpointRefused: there is no such file; the message quotes nothing of it.
    """
    try:
        # Not to be kept waiting by a pipe, nor led elsewhere by a link.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            seen = os.fstat(file.fileno())
            if not stat.S_ISREG(seen.st_mode):
                raise CheckpointRefused("it is no file")
            if not size + 8 <= seen.st_size <= size + 8 + MAX_HEADER:
                raise CheckpointRefused(f"{seen.st_size} bytes for {size} of tensors")
            return file.read(seen.st_size)
    except OSError as error:
        raise CheckpointRefused(f"it cannot be read (errno {error.errno})") from None
