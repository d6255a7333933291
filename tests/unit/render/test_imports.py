"""What the consumer loads to render: not a byte of torch."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "av", "numpy")


def test_the_parent_imports_neither_torch_nor_diffusers() -> None:
    program = (
        "import sys, gpu_consumer.render.renderer\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"
