"""Which device renders, and that nobody else renders on it. Runs in the render child."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpu_consumer.render import lock
from gpu_consumer.render.failures import ModelUnavailable


@dataclass(frozen=True, slots=True)
class Device:
    """A device to render on: torch's name, its own name, and a GPU's UUID."""

    torch: torch.device
    name: str
    uuid: str | None

    @property
    def dtype(self) -> Any:
        """What the weights are held in: bfloat16 on a GPU, float32 on a CPU."""
        return torch.bfloat16 if self.torch.type == "cuda" else torch.float32

    def settle(self) -> None:
        """Returns once everything enqueued so far has run: only then is a step done."""
        if self.torch.type == "cuda":
            done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own gap
            done.record()
            done.synchronize()


def choose(wanted: str, slot: int, *, tiny: bool) -> Device:
    """The device meant by ``wanted``: auto, cpu or cuda:N.

    auto is the GPU of this slot's number, counted round; a CPU only where there is no GPU, and
    only for the tiny model: the real one would take days there, which must be asked for.

    Raises:
        ModelUnavailable: there is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        if not gpus and not tiny:
            raise ModelUnavailable("no CUDA device is visible; set TTV_DEVICE=cpu to insist")
        wanted = f"cuda:{slot % gpus}" if gpus else "cpu"
    if wanted == "cpu":
        return Device(torch.device("cpu"), "cpu", None)
    kind, _, index = wanted.partition(":")
    if kind != "cuda" or not (index.isdecimal() and index.isascii()):
        raise ModelUnavailable(f"TTV_DEVICE is {wanted!r}: use auto, cpu or cuda:N")
    if int(index) >= gpus:
        raise ModelUnavailable(f"{wanted} is not visible: {gpus} CUDA devices are")
    torch.cuda.set_device(int(index))
    seen = torch.cuda.get_device_properties(int(index))
    return Device(torch.device("cuda", int(index)), seen.name, f"GPU-{seen.uuid}")


def hold(device: Device, slot: int, work_dir: Path, deadline: float) -> int:
    """Takes the device for this process, until it dies; returns the lock's file descriptor.

    A GPU's lock is the machine's, a CPU's is the slot's within ``work_dir``. Waits until
    ``deadline`` (of ``time.monotonic``) for a predecessor that is still being torn down.

    Raises:
        ModelUnavailable: another process holds it.
    """
    name = f"ttv-{device.uuid}.lock" if device.uuid else f"slot-{slot}.lock"
    folder = Path(tempfile.gettempdir()) if device.uuid else work_dir
    return lock.take(folder / name, device.name, deadline)
