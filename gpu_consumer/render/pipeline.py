"""One clip out of diffusers' own MochiPipeline. Runs in the render child.

The frames equal, bit for bit, those of a direct call of the pipeline with the same spec on the same
device (a VAE that is tiled for large clips included).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import diffusers as partly_typed_diffusers
import torch
import transformers as partly_typed_transformers

from gpu_consumer.render.checkpoint import Conditioning, State
from gpu_consumer.render.device import Device
from gpu_consumer.render.encode import Frame
from gpu_consumer.render.failures import BadOutput, Interrupted, InvalidSpec
from gpu_consumer.render.job import RenderJob, faults
from gpu_consumer.render.scheduler import starting_at
from gpu_consumer.render.tiny import tiny_model

diffusers: Any = partly_typed_diffusers

#: Clips of more pixels (width x height x frames) are decoded in tiles. It depends on the spec
#: alone, as tiling changes the picture a little: the same spec must give the same frames anywhere.
TILED_ABOVE: Final = 2**24
#: Frames turned to 8 bits at once, to bound memory.
CHUNK: Final = 8

#: Steps finished on the device, seconds of the last, the latents now.
OnStep = Callable[[int, float, torch.Tensor], None]


def load(model: str, model_dir: Path, device: Device) -> Any:
    """The MochiPipeline on ``device``.

    Args:
        model_dir: where the tiny model is made.
        device: what it runs on.
        model: tiny, a local folder as save_pretrained writes it, or a hub id.

    Raises:
        Exception: it is not there or cannot be read; which one is the libraries' choice.
    """
    for library in (diffusers, partly_typed_transformers):
        library.utils.logging.disable_progress_bar()
    # Mochi's rotary embedding asks for float32 autocast, which a CPU declines with a warning.
    warnings.filterwarnings("ignore", "In CPU autocast", UserWarning)
    source = str(tiny_model(model_dir)) if model == "tiny" else model
    local = Path(source).is_dir()
    bf16 = not local or any(Path(source, "transformer").glob("*.bf16.*safetensors"))
    pipe = diffusers.MochiPipeline.from_pretrained(
        source,
        variant="bf16" if bf16 else None,
        dtype=device.dtype,
        use_safetensors=True,
        local_files_only=local,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device.torch)


def check(job: RenderJob) -> None:
    """Returns if the model can render ``job``.

    Raises:
        InvalidSpec: it cannot, and why.
    """
    if wrong := faults(job):
        raise InvalidSpec("; ".join(wrong))


@torch.no_grad()
def encode_prompt(pipe: Any, job: RenderJob) -> Conditioning:
    """The text encoder's view of ``job``'s prompts, as keyword arguments of the pipeline."""
    embeds, mask, negative_embeds, negative_mask = pipe.encode_prompt(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        do_classifier_free_guidance=job.guidance_scale > 1.0,
    )
    return {
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "negative_prompt_embeds": negative_embeds,
        "negative_prompt_attention_mask": negative_mask,
    }


def denoise(
    pipe: Any,
    job: RenderJob,
    begin: State | Conditioning,
    *,
    settle: Callable[[], None],
    on_step: OnStep,
    stopped: Callable[[], bool],
) -> torch.Tensor:
    """The clean latents of ``job``: 1 x 12 x (frames-1)/6+1 x height/8 x width/8.

    From a checkpoint they are, bit for bit, what they would have been without a break, if the
    fingerprints are equal.

    Args:
        pipe: the MochiPipeline.
        job: without faults.
        begin: of encode_prompt; or a checkpoint to go on from.
        settle: returns once the device has run what was enqueued.
        on_step: called after every step that is finished on the device.
        stopped: asked after every step.

    Raises:
        Interrupted: ``stopped`` said so.
        BadOutput: the latents are not finite.
    """
    if stopped():
        raise Interrupted
    start, latents, conditioning = _begun(pipe, begin)
    if latents is None or start < job.num_inference_steps:
        each = _AfterStep(start, settle, on_step, stopped)
        latents = _loop(pipe, job, start, conditioning, latents, each)
    if stopped():
        raise Interrupted
    if not bool(torch.isfinite(latents).all()):
        raise BadOutput("the latents are not finite")
    return latents


def _begun(pipe: Any, begin: State | Conditioning) -> tuple[int, torch.Tensor | None, Conditioning]:
    if not isinstance(begin, State):
        return 0, None, begin
    device = pipe._execution_device  # noqa: SLF001 (where the pipeline puts its own tensors)
    texts = {
        name: None if one is None else one.to(device) for name, one in begin.conditioning.items()
    }
    return begin.step, begin.latents.to(device), texts


class _AfterStep:
    """What the pipeline calls at the end of each step."""

    def __init__(
        self, start: int, settle: Callable[[], None], on_step: OnStep, stopped: Callable[[], bool]
    ) -> None:
        self._start, self._settle, self._on_step, self._stopped = start, settle, on_step, stopped
        self._since = time.monotonic()

    def __call__(self, pipe: Any, index: int, _t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self._settle()
        now = time.monotonic()
        self._on_step(self._start + index + 1, now - self._since, tensors["latents"])
        self._since = now
        if self._stopped():
            # The loop then skips what is left of it. Raising would skip the pipeline's clean-up.
            pipe._interrupt = True  # noqa: SLF001 (there is no public switch)
        return tensors


def _loop(
    pipe: Any,
    job: RenderJob,
    start: int,
    conditioning: Conditioning,
    latents: torch.Tensor | None,
    each: _AfterStep,
) -> torch.Tensor:
    """The pipeline's own loop, over the steps after the first ``start``."""
    scheduler = pipe.scheduler
    pipe.scheduler = starting_at(scheduler, start)
    try:
        done: torch.Tensor = pipe(
            **conditioning,
            latents=latents,
            width=job.width,
            height=job.height,
            num_frames=job.num_frames,
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            # Drawn on the CPU, the same noise on every kind of device.
            generator=torch.Generator("cpu").manual_seed(job.seed),
            callback_on_step_end=each,
            output_type="latent",
        ).frames
    finally:
        pipe.scheduler = scheduler
    return done


@torch.no_grad()
def decode(pipe: Any, latents: torch.Tensor, job: RenderJob, alive: Callable[[], None]) -> Any:
    """The video of ``latents``: 3 x frames x height x width, nominally -1 to 1, on the device.

    Args:
        pipe: the MochiPipeline.
        latents: as denoise gives them.
        job: whose latents they are; large clips are decoded in tiles.
        alive: called before each tile; what it raises ends the decoding.
    """
    vae = pipe.vae
    vae.use_tiling = job.width * job.height * job.num_frames > TILED_ABOVE
    hook = vae.decoder.register_forward_pre_hook(lambda *_: alive())
    try:
        return vae.decode(_unnormalised(vae.config, latents), return_dict=False)[0][0]
    finally:
        hook.remove()


def _unnormalised(config: Any, latents: torch.Tensor) -> Any:
    # As MochiPipeline.__call__ does it after the loop: output_type="latent" returns before this.
    mean, std = config.latents_mean, config.latents_std
    if mean is None or std is None:
        return latents / config.scaling_factor
    shape = (1, len(mean), 1, 1, 1)
    means = torch.tensor(mean).view(shape).to(latents.device, latents.dtype)
    stds = torch.tensor(std).view(shape).to(latents.device, latents.dtype)
    return latents * stds / config.scaling_factor + means


@torch.no_grad()
def frames(video: Any) -> Iterator[Frame]:
    """``video`` (3 x T x H x W) as T frames, uint8, H x W x 3: rounded on the device.

    The same values as the pipeline's output_type="pil".

    Raises:
        BadOutput: a value is not finite.
    """
    for chunk in video.split(CHUNK, dim=1):
        if not bool(torch.isfinite(chunk).all()):
            raise BadOutput("the decoded video is not finite")
        unit = (chunk * 0.5 + 0.5).clamp(0, 1).float()
        pixels = (unit * 255).round().to(torch.uint8).permute(1, 2, 3, 0)
        yield from pixels.contiguous().cpu().numpy()
