"""A denoising checkpoint as a safetensors file: written durably, read with nothing taken on trust.

It holds the latents after ``step`` steps in their own dtype, and what the text encoder made of the
prompts, so that going on needs neither noise nor text encoder. Runs in the render child.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from gpu_consumer.render import checkpoint_file
from gpu_consumer.render.checkpoint_file import MAX_HEADER, CheckpointRefused, content
from gpu_consumer.render.durable import publish
from gpu_consumer.render.fingerprint import identity
from gpu_consumer.render.job import RenderJob

FORMAT: Final = "ttv-denoising-1"
LATENTS: Final = "latents"

Tensors = dict[str, torch.Tensor]
#: What the text encoder made of the prompts, as keyword arguments of the pipeline.
Conditioning = dict[str, torch.Tensor | None]
#: Name to dtype and shape.
Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class State:
    """A job after ``step`` denoising steps: latents, and the pipeline's text arguments."""

    step: int
    latents: torch.Tensor
    conditioning: Conditioning


def metadata(job: RenderJob, step: int, fingerprint: str) -> dict[str, str]:
    """What a checkpoint says of itself; nothing of the prompts but the job's id."""
    return checkpoint_file.metadata(FORMAT, job, step, fingerprint)


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
    publish(part, path)


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
    data = content(path, sum(_size(*one) for one in expected.values()))
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
