"""Which device renders, and that no two processes render on one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gpu_consumer.render.device import Device, choose, hold
from gpu_consumer.render.failures import ModelUnavailable
from gpu_consumer.render.nvml import Utilisation

CPU = Device(torch.device("cpu"), "cpu", None)


def test_a_cpu_is_used_when_asked_for() -> None:
    assert choose("cpu", 0, tiny=False) == CPU


@pytest.mark.parametrize("wanted", ["cuda", "cuda:", "cuda:x", "cuda:99", "tpu", ""])
def test_a_device_that_is_not_there_is_said_so(wanted: str) -> None:
    with pytest.raises(ModelUnavailable):
        choose(wanted, 0, tiny=True)


def test_auto_takes_a_gpu_or_the_cpu_for_the_tiny_model_alone() -> None:
    if torch.cuda.is_available():
        assert choose("auto", 0, tiny=False).torch == torch.device("cuda", 0)
    else:
        assert choose("auto", 3, tiny=True) == CPU
        with pytest.raises(ModelUnavailable, match="TTV_DEVICE=cpu"):
            choose("auto", 3, tiny=False)


def test_a_device_is_held_until_its_process_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "slot-2.lock")],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ModelUnavailable, match="another process"):
        hold(CPU, 2, tmp_path, time.monotonic() + 0.2)
    hold(CPU, 3, tmp_path, time.monotonic())
    holder.kill()
    holder.wait()
    holder.stdout.close()
    hold(CPU, 2, tmp_path, time.monotonic() + 10)


def test_without_a_gpu_its_utilisation_is_unknown() -> None:
    assert Utilisation(None).read() is None
    assert Utilisation("GPU-00000000-0000-0000-0000-000000000000").read() is None


_HOLDER = """
import fcntl, signal, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""
