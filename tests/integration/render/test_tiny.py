"""The tiny model: made once, whole, with the real one's shape."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from gpu_consumer.render.device import Device
from gpu_consumer.render.pipeline import load
from gpu_consumer.render.tiny import tiny_model


def test_several_makers_at_once_make_one(tmp_path: Path) -> None:
    left_over = tmp_path / ".tiny-mochi-1.making"
    left_over.mkdir()
    with ThreadPoolExecutor(4) as makers:
        made = set(makers.map(tiny_model, [tmp_path] * 4))
    assert len(made) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".tiny-mochi.lock",
        made.pop().name,
    ]


def test_it_is_the_same_wherever_and_after_whatever_it_is_made(tmp_path: Path) -> None:
    first = _digests(tiny_model(tmp_path / "1"))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    second = _digests(tiny_model(tmp_path / "2"))
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_has_the_real_models_channels_and_compression(folder: Path) -> None:
    pipe = load("tiny", folder / "models", Device(torch.device("cpu"), "cpu", None))
    assert pipe.vae.spatial_compression_ratio == pipe.vae_spatial_scale_factor == 8
    assert pipe.vae.temporal_compression_ratio == pipe.vae_temporal_scale_factor == 6
    assert pipe.transformer.config.in_channels == pipe.vae.config.latent_channels == 12
    assert pipe.tokenizer.model_max_length == 256
    assert pipe.scheduler.config.invert_sigmas


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
