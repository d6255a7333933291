"""A denoising checkpoint as a safetensors file: written durably, read with nothing taken on trust.

It holds the latents after ``step`` steps in their own dtype, and what the text encoder made of the
prompts, so that going on needs neither noise nor text encoder. Runs in the render child.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from gpu_consumer.render.fingerprint import identity
from gpu_consumer.render.job import RenderJob

FORMAT: Final = "ttv-denoising-1"
#: Bytes of a header; ours have about 1,500. It also bounds how many tensors one can name.
MAX_HEADER: Final = 16 * 1024
LATENTS: Final = "latents"

Tensors = dict[str, torch.Tensor]
#: What the text encoder made of the prompts, as keyword arguments of the pipeline.
Conditioning = dict[str, torch.Tensor | None]
#: Name to dtype and shape.
Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]


class CheckpointRefused(Exception):
    """This file is no checkpoint of this job for this model: render from the first step."""


@dataclass(frozen=True, slots=True)
class State:
    """A job after ``step`` denoising steps: latents, and the pipeline's text arguments."""

    step: int
    latents: torch.Tensor
    conditioning: Conditioning


def metadata(job: RenderJob, step: int, fingerprint: str) -> dict[str, str]:
    """What a checkpoint says of itself; nothing of the prompts but the job's id."""
    return {
        "format": FORMAT,
        "job_id": job.job_id,
        "step": str(step),
        "total": str(job.num_inference_steps),
        "guidance": repr(float(job.guidance_scale)),
        "seed": str(job.seed),
        "size": f"{job.width}x{job.height}x{job.num_frames}",
        "fingerprint": fingerprint,
    }


def layout(pipe: Any, job: RenderJob) -> Layout:
    """Exactly the tensors that a checkpoint of ``job`` holds for this pipeline."""
    config, dtype = pipe.transformer.config, pipe.text_encoder.dtype
    frames = (job.num_frames - 1) // pipe.vae_temporal_scale_factor + 1
    height, width = (side // pipe.vae_spatial_scale_factor for side in (job.height, job.width))
    tokens = pipe.tokenizer_max_length
    found: Layout = {LATENTS: (dtype, (1, config.in_channels, frames, height, width))}
    for prefix in ("", "negative_") if job.guidance_scale > 1.0 else ("",):
        found[f"{prefix}prompt_embeds"] = (dtype, (1, tokens, config.text_embed_dim))
        found[f"{prefix}prompt_attention_mask"] = (torch.bool, (1, tokens))
    return found


def write(path: Path, part: Path, tensors: Tensors, about: dict[str, str]) -> None:
    """Writes ``path``, whole and durable; ``part`` is used on the way.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    try:
        safetensors.torch.save_file(tensors, part, metadata=about)
    except safetensors.SafetensorError as error:
        raise OSError(f"no checkpoint can be written: {error}") from None
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def read(path: Path, job: RenderJob, expected: Layout, fingerprint: str) -> State:
    """The state that ``path`` holds, of exactly this job and model.

    Another device or library version is no reason to refuse: the pictures are of the same kind,
    only not equal bit for bit. Whoever resumes compares the fingerprints.

    Args:
        path: the file.
        job: whose checkpoint it must be.
        expected: of ``layout``.
        fingerprint: of this child.

    Raises:
        CheckpointRefused: it is not; the message quotes nothing of the file.
    """
    data = _bytes(path, sum(_size(*one) for one in expected.values()))
    step = _step(_header(data), job, fingerprint)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError, TypeError):
        raise CheckpointRefused("its tensors do not lie as its header says") from None
    if {name: (one.dtype, tuple(one.shape)) for name, one in tensors.items()} != expected:
        raise CheckpointRefused("its tensors are not those of this job")
    for name, one in tensors.items():
        if one.dtype == torch.bool:
            if bool((one.view(torch.uint8) > 1).any()):
                raise CheckpointRefused(f"{name} is not boolean")
        elif not bool(torch.isfinite(one).all()):
            raise CheckpointRefused(f"{name} is not finite")
    latents = tensors.pop(LATENTS)
    none = dict.fromkeys(("negative_prompt_embeds", "negative_prompt_attention_mask"))
    return State(step, latents, {**none, **tensors})


def _bytes(path: Path, content: int) -> bytes:
    try:
        # Not to be kept waiting by a pipe, nor led elsewhere by a link.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            seen = os.fstat(file.fileno())
            if not stat.S_ISREG(seen.st_mode):
                raise CheckpointRefused("it is no file")
            if not content + 8 <= seen.st_size <= content + 8 + MAX_HEADER:
                raise CheckpointRefused(f"{seen.st_size} bytes for {content} of tensors")
            return file.read(seen.st_size)
    except OSError as error:
        raise CheckpointRefused(f"it cannot be read (errno {error.errno})") from None


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER or 8 + length > len(data):
        raise CheckpointRefused("its header is too long")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise CheckpointRefused("its header cannot be read") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise CheckpointRefused("its header has no metadata")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Readers differ in which of the two they take.
        raise CheckpointRefused("its header names something twice")
    return found


def _step(header: dict[str, Any], job: RenderJob, fingerprint: str) -> int:
    about = header["__metadata__"]
    written, theirs = about.get("step"), about.get("fingerprint")
    total = job.num_inference_steps
    step = next((one for one in range(1, total + 1) if written == str(one)), 0)
    if not step:
        raise CheckpointRefused(f"its step is none of 1 to {total}")
    if not isinstance(theirs, str) or identity(theirs) != identity(fingerprint):
        raise CheckpointRefused("it was made with another model")
    ours = metadata(job, step, theirs)
    if wrong := sorted(name for name in ours if about.get(name) != ours[name]):
        raise CheckpointRefused(f"it differs in {', '.join(wrong)}")
    if len(about) != len(ours):
        raise CheckpointRefused("it says more than it should")
    return step


def _size(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * torch.Size(shape).numel()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
