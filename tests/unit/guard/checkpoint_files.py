"""Checkpoint files, sound and hostile."""

from __future__ import annotations

import json
import struct
from typing import Any

import torch
from safetensors.torch import save


def tensors(value: float = 0.5, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """What a renderer keeps of a small clip: latents, embeddings and masks."""
    return {
        "latents": torch.full((1, 12, 2, 4, 6), value, dtype=dtype),
        "prompt_embeds": torch.ones((1, 8, 16), dtype=dtype),
        "prompt_attention_mask": torch.ones((1, 8), dtype=torch.bool),
        "negative_prompt_embeds": torch.zeros((1, 8, 16), dtype=dtype),
        "negative_prompt_attention_mask": torch.ones((1, 8), dtype=torch.bool),
    }


def checkpoint_file(value: float = 0.5) -> bytes:
    """The bytes of a sound checkpoint whose latents are all ``value``."""
    return save(tensors(value), {"format": "pt"})


def by_hand(header: dict[str, Any] | str, data: bytes) -> bytes:
    """A safetensors file with any header, also one that no library would write."""
    text = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(text.encode())) + text.encode() + data
