"""What the guard takes for a checkpoint, and what it refuses."""

from __future__ import annotations

import random

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from rust_guard import BadCheckpoint, FailureClass, check_checkpoint
from tests.unit.guard.checkpoint_files import by_hand, checkpoint_file, tensors


def reason(data: bytes) -> str:
    with pytest.raises(BadCheckpoint) as caught:
        check_checkpoint(data)
    assert caught.value.code == "bad_output"
    assert caught.value.failure_class is FailureClass.RETRYABLE
    return caught.value.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_safetensors_writes_passes(dtype: torch.dtype) -> None:
    check_checkpoint(save(tensors(dtype=dtype)))
    check_checkpoint(save(tensors(dtype=dtype), {"format": "pt", "step": "8"}))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int32, torch.uint8])
def test_masks_may_be_integers(dtype: torch.dtype) -> None:
    mask = {"prompt_attention_mask": torch.ones((1, 8), dtype=dtype)}
    check_checkpoint(save(tensors() | mask))


def test_latents_of_a_full_clip_pass_alone() -> None:
    latents = torch.randn((1, 12, 28, 60, 106), generator=torch.Generator().manual_seed(1))
    check_checkpoint(save({"latents": latents.to(torch.bfloat16)}))


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        ("latents", torch.tensor([[1.0, float("nan")]]), "not_finite"),
        ("latents", torch.tensor([float("inf")], dtype=torch.bfloat16), "not_finite"),
        ("latents", torch.tensor([float("-inf")], dtype=torch.float16), "not_finite"),
        ("prompt_embeds", torch.tensor([float("nan")]), "not_finite"),
        ("latents", torch.ones(4, dtype=torch.float64), "dtype"),
        ("latents", torch.ones(4, dtype=torch.int64), "dtype"),
        ("negative_prompt_embeds", torch.ones(4, dtype=torch.bool), "dtype"),
        ("latents", torch.ones((1, 0, 4)), "shape"),
        ("latents", torch.tensor(1.0), "shape"),
        ("latents", torch.ones([1] * 9), "shape"),
        ("noise", torch.ones(4), "names"),
    ],
)
def test_tensors_that_do_not_belong_are_refused(
    name: str, changed: torch.Tensor, expected: str
) -> None:
    assert reason(save(tensors() | {name: changed})) == expected


def test_latents_must_be_there() -> None:
    kept = tensors()
    del kept["latents"]
    assert reason(save(kept)) == "names"


def test_what_the_library_takes_and_must_not_be_taken() -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    twice = by_hand(f'{{"latents":{entry},"latents":{entry}}}', bytes(4))
    assert list(load(twice)) == ["latents"]
    assert reason(twice) == "names"
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = by_hand({str(n): empty for n in range(10_000)}, b"")
    assert len(load(many)) == 10_000
    assert reason(many) == "header"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "truncated"),
        (b"\x80\x04\x95", "truncated"),
        (b"\xff" * 64, "header"),
        (by_hand("{}", b""), "names"),
        (by_hand("[]", b""), "header"),
        (by_hand("[" * 10_000, b""), "header"),
        (by_hand('{"latents":1}', b""), "header"),
        (checkpoint_file() + b"\0", "layout"),
        (checkpoint_file()[:-1], "truncated"),
        (bytes(64 * 2**20 + 1), "too_large"),
    ],
)
def test_files_that_are_something_else_are_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_whatever_passes_after_damage_is_still_loaded_as_a_checkpoint() -> None:
    whole, draw = checkpoint_file(), random.Random(5)
    names, refused = set(tensors()), 0
    for _ in range(3_000):
        damaged = bytearray(whole)
        damaged[draw.randrange(700)] = draw.randrange(256)
        try:
            check_checkpoint(bytes(damaged))
        except BadCheckpoint:
            refused += 1
            continue
        loaded = load(bytes(damaged))
        assert set(loaded) == names
        assert all(bool(torch.isfinite(tensor).all()) for tensor in loaded.values())
    assert refused > 1_000


def test_bytes_that_the_library_refuses_are_refused_too() -> None:
    whole, draw = checkpoint_file(), random.Random(6)
    for _ in range(1_000):
        damaged = bytearray(whole)
        damaged[draw.randrange(700)] = draw.randrange(256)
        try:
            load(bytes(damaged))
        except SafetensorError:
            reason(bytes(damaged))
