"""A checkpoint of the stand-in: a safetensors file of latents, read with nothing taken on trust.

Its header is known to the byte before the file is read, so nothing of it is parsed. There is no
text encoder, so no embeddings are in it. Runs in the render child; imports no torch.
Source of the format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpu_consumer.render import checkpoint_file
from gpu_consumer.render.checkpoint_file import CheckpointRefused, content
from gpu_consumer.render.durable import publish
from gpu_consumer.render.job import RenderJob

FORMAT: Final = "ttv-stand-in-1"

Latents = np.ndarray[Any, np.dtype[np.float32]]


def metadata(job: RenderJob, step: int, fingerprint: str) -> dict[str, str]:
    """What a checkpoint says of itself; nothing of the prompts but the job's id."""
    return checkpoint_file.metadata(FORMAT, job, step, fingerprint)


def write(path: Path, part: Path, latents: Latents, about: dict[str, str]) -> None:
    """Writes ``path``, whole and durable; ``part`` is used on the way.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    data = np.ascontiguousarray(latents, "<f4").tobytes()
    with part.open("wb") as file:
        file.write(_head(latents.shape, about) + data)
    publish(part, path)


def read(
    path: Path, job: RenderJob, shape: tuple[int, ...], fingerprint: str
) -> tuple[int, Latents]:
    """The steps done and the latents after them.

    Args:
        path: the file.
        job: whose checkpoint it must be.
        shape: of its latents.
        fingerprint: of this child; that of another is refused.

    Raises:
        CheckpointRefused: it is anything else; the message quotes nothing of it.
    """
    size = 4 * int(np.prod(shape))
    data = content(path, size)
    for step in range(1, job.num_inference_steps + 1):
        head = _head(shape, metadata(job, step, fingerprint))
        if data.startswith(head) and len(data) == len(head) + size:
            latents = np.frombuffer(data, "<f4", offset=len(head)).reshape(shape)
            if not np.isfinite(latents).all():
                raise CheckpointRefused("its latents are not finite")
            return step, latents
    raise CheckpointRefused("it is none of this job by this renderer")


def _head(shape: tuple[int, ...], about: dict[str, str]) -> bytes:
    size = 4 * int(np.prod(shape))
    tensor = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": about, "latents": tensor}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text
