"""A denoising checkpoint as safetensors files: written durably, read with nothing taken on trust.

One file holds the latents after ``step`` steps in their own dtype. Another, which all checkpoints
of a run share, holds what the text encoder made of the prompts: going on needs neither noise nor
text encoder. Runs in the render child.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from gpu_consumer.render import checkpoint_file
from gpu_consumer.render.checkpoint_file import (
    MAX_HEADER,
    CheckpointRefused,
    content,
    identity,
)
from gpu_consumer.render.durable import publish
from gpu_consumer.render.job import RenderJob, Resume

FORMAT: Final = "ttv-denoising-2"
CONDITIONING_FORMAT: Final = "ttv-conditioning-1"
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


def conditioning_metadata(job: RenderJob, fingerprint: str) -> dict[str, str]:
    """What a conditioning says of itself: it is there before the first step."""
    return checkpoint_file.metadata(CONDITIONING_FORMAT, job, 0, fingerprint)


def layout(pipe: Any, job: RenderJob) -> Layout:
    """Exactly the tensors that a checkpoint of ``job`` and its conditioning hold here."""
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


def read(resume: Resume, job: RenderJob, expected: Layout, fingerprint: str) -> State:
    """The state that the files of ``resume`` hold, of exactly this job and model.

    Another device or library version is no reason to refuse: the pictures are of the same kind,
    only not equal bit for bit. Whoever resumes compares the fingerprints.

    Args:
        resume: the files.
        job: whose checkpoint it must be.
        expected: of ``layout``.
        fingerprint: of this child.

    Raises:
        CheckpointRefused: it is not; the message quotes nothing of the file.
    """
    if resume.conditioning is None:
        raise CheckpointRefused("it has no conditioning")
    latents = {LATENTS: expected[LATENTS]}
    texts = {name: one for name, one in expected.items() if name != LATENTS}
    step, tensors = _file(resume.checkpoint, latents, job, fingerprint, _step)
    _, conditioning = _file(resume.conditioning, texts, job, fingerprint, _no_step)
    none = dict.fromkeys(("negative_prompt_embeds", "negative_prompt_attention_mask"))
    return State(step, tensors[LATENTS], {**none, **conditioning})


def _file(
    path: Path,
    expected: Layout,
    job: RenderJob,
    fingerprint: str,
    step_of: Callable[[dict[str, Any], RenderJob], tuple[int, str]],
) -> tuple[int, Tensors]:
    """The step and the tensors of one file; ``step_of`` gives the step and the format it is of."""
    data = content(path, sum(_size(*one) for one in expected.values()))
    about = _header(data)["__metadata__"]
    step, form = step_of(about, job)
    _check(about, job, form, step, fingerprint)
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
    return step, tensors


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


def _step(about: dict[str, Any], job: RenderJob) -> tuple[int, str]:
    written, total = about.get("step"), job.num_inference_steps
    step = next((one for one in range(1, total + 1) if written == str(one)), 0)
    if not step:
        raise CheckpointRefused(f"its step is none of 1 to {total}")
    return step, FORMAT


def _no_step(_about: dict[str, Any], _job: RenderJob) -> tuple[int, str]:
    return 0, CONDITIONING_FORMAT


def _check(about: dict[str, Any], job: RenderJob, form: str, step: int, fingerprint: str) -> None:
    theirs = about.get("fingerprint")
    if not isinstance(theirs, str) or identity(theirs) != identity(fingerprint):
        raise CheckpointRefused("it was made with another model")
    ours = checkpoint_file.metadata(form, job, step, theirs)
    if wrong := sorted(name for name in ours if about.get(name) != ours[name]):
        raise CheckpointRefused(f"it differs in {', '.join(wrong)}")
    if len(about) != len(ours):
        raise CheckpointRefused("it says more than it should")


def _size(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * torch.Size(shape).numel()
