"""Names everything that must be equal for two renders to be equal bit for bit.

Runs in the render child.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import huggingface_hub as partly_typed_hub
import torch

from gpu_consumer.render.device import Device
from gpu_consumer.render.tiny import tiny_model

huggingface_hub: Any = partly_typed_hub

#: Weights are read at this many places, evenly spread: all of them would take a minute a load.
SAMPLES: Final = 64
SAMPLE: Final = 4096
LIBRARIES: Final = ("torch", "diffusers", "transformers")


def fingerprint(model: str, folder: Path, device: Device, libraries: dict[str, str]) -> str:
    """One line, ``name=value`` separated by ``;``. Its beginning is the ``identity``.

    Args:
        model: as configured.
        folder: where its files are.
        device: what it runs on.
        libraries: versions by name.
    """
    parts = {
        "model": model,
        "weights": weights(folder),
        "dtype": str(device.dtype).removeprefix("torch."),
        "device": device.name,
        **{name: libraries[name] for name in LIBRARIES},
        **_kernels(device),
    }
    return ";".join(f"{name}={_plain(value)}" for name, value in parts.items())


def folder_of(model: str, model_dir: Path) -> Path:
    """Where the files of a model are that has been loaded; see ``pipeline.load``."""
    if model == "tiny":
        return tiny_model(model_dir)
    if Path(model).is_dir():
        return Path(model)
    cached = huggingface_hub.try_to_load_from_cache(model, "model_index.json")
    return Path(cached).parent if isinstance(cached, str) else Path(model)


def weights(folder: Path) -> str:
    """Digest of a model's files: configuration whole, weights by size and samples."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        with path.open("rb") as file:
            if path.suffix == ".json":
                digest.update(file.read())
                continue
            for index in range(SAMPLES):
                file.seek(max(size - SAMPLE, 0) * index // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:32]


def _files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("model_index.json")
    for suffix in (".json", ".model", ".safetensors"):
        yield from folder.glob(f"*/*{suffix}")


def _kernels(device: Device) -> dict[str, str]:
    if device.torch.type == "cuda":
        cudnn: Any = torch.backends.cudnn
        return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn.version())}
    return {
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {_cpu_model()}",
        # The number of threads decides the order of sums.
        "threads": str(torch.get_num_threads()),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def _plain(value: str) -> str:
    return re.sub(r"[^\x20-\x7e]|[;=]", "_", value)[:200]
