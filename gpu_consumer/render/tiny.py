"""A Mochi-1 of a few hundred kilobytes with random weights, made locally from a fixed seed.

It has the real model's classes, latent channels and compression (8x in space, 6x in time), so that
sizes, frames, steps and guidance mean what they mean there; only its pictures mean nothing. Runs in
the render child.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import diffusers as partly_typed_diffusers
import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

diffusers: Any = partly_typed_diffusers

#: Part of the folder's name: raise it when anything below changes what is made.
VERSION: Final = 1
SEED: Final = 20241022
TEXT_WIDTH: Final = 32
#: What the prompt pools into must reach the picture: at the usual initial scale it would be lost
#: in the rounding to 8 bits, and all prompts would render alike.
GAIN: Final = 6.0
CHARACTERS: Final = "".join(chr(c) for c in range(33, 127)) + "äöüßéèñçøåœ…"


def tiny_model(model_dir: Path) -> Path:
    """The folder of the tiny model under ``model_dir``, made if it is not there yet.

    Any number of processes may call this at once: one makes it, the others wait. The folder
    appears whole or not at all.

    Raises:
        OSError: ``model_dir`` cannot be written.
    """
    target = model_dir / f"tiny-mochi-v{VERSION}"
    if target.is_dir():
        return target
    model_dir.mkdir(parents=True, exist_ok=True)
    with _locked(model_dir / ".tiny-mochi.lock"):
        if not target.is_dir():
            for left_over in model_dir.glob(".tiny-mochi-*.making"):
                shutil.rmtree(left_over)
            making = model_dir / f".tiny-mochi-{os.getpid()}.making"
            _build().save_pretrained(making, safe_serialization=True)
            _sync(making)
            making.rename(target)
            _sync(model_dir, recurse=False)
    return target


def _build() -> Any:
    """The pipeline, with weights drawn from ``SEED`` alone (the caller's generator is kept)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        text_encoder: Any = T5EncoderModel(
            T5Config(
                vocab_size=len(CHARACTERS) + 5,
                d_model=TEXT_WIDTH,
                d_kv=8,
                d_ff=2 * TEXT_WIDTH,
                num_layers=1,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
            )
        )
        transformer = diffusers.MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=2,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=TEXT_WIDTH,
            time_embed_dim=16,
        )
        vae = _vae()
        _enliven(transformer, vae)
    return diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=_tokenizer(),
        transformer=transformer.eval(),
        force_zeros_for_empty_prompt=True,
    )


def _vae() -> Any:
    # 32 channels are the least: the VAE's group norm has 32 groups.
    return diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(0, 0, 0, 0, 1),
        add_attention_block=(False, False, False, False, False),
    )


def _enliven(transformer: Any, vae: Any) -> None:
    """Scales weights so that prompt, seed and position all show in the 8-bit picture."""
    torch.nn.init.normal_(transformer.pos_frequencies, std=1.0)
    transformer.time_embed.pooler.to_out.weight.mul_(GAIN)
    transformer.time_embed.caption_proj.weight.mul_(GAIN)
    transformer.proj_out.weight.mul_(GAIN)
    vae.decoder.proj_out.weight.mul_(GAIN / 4)


def _tokenizer() -> Any:
    """T5's tokenizer over single characters: every printable ASCII character is a token."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(character, -3.0) for character in CHARACTERS]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=256)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on ``path``; the kernel drops it when the process dies."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(folder: Path, *, recurse: bool = True) -> None:
    """Makes ``folder``'s entries, and with ``recurse`` all below it, durable."""
    if recurse:
        for path in folder.rglob("*"):
            _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
