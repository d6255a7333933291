"""Names for the ways in which a render fails.

RenderError
├── InvalidSpec         invalid_spec        permanent
├── BadOutput           bad_output          retryable elsewhere
├── ModelUnavailable    model_unavailable   retryable elsewhere
└── Interrupted         (a cancel, no failure)
"""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from typing import ClassVar

#: Exit status of a child whose model cannot be loaded; it has said so before.
EXIT_NO_MODEL = 3
#: Exit status of a child that failed a job in a way that may have harmed its own state.
EXIT_AFTER_FAILURE = 4


class RenderError(Exception):
    """A render ended without a video; the message holds no prompt."""

    code: ClassVar[str] = "render_crashed"


class InvalidSpec(RenderError):
    """The model cannot render these parameters: change them."""

    code = "invalid_spec"


class BadOutput(RenderError):
    """The model gave values that are not a picture: try it elsewhere."""

    code = "bad_output"


class ModelUnavailable(RenderError):
    """The model cannot be loaded here: tell the operator."""

    code = "model_unavailable"


class Interrupted(RenderError):
    """The render was asked to stop, and has."""


def classify(error: BaseException) -> tuple[str, str]:
    """Code and detail of ``error``. Messages of foreign errors may quote a prompt: left out."""
    if isinstance(error, RenderError):
        return error.code, str(error)
    code = "out_of_memory" if _is_out_of_memory(error) else "render_crashed"
    return code, f"{type(error).__name__}{_errno(error)} {_place(error)}"


def classify_exit(status: int, *, ready: bool) -> tuple[str, str]:
    """Code and detail of a child that ended with ``status`` (negative: a signal) unasked."""
    if status == -signal.SIGKILL:
        # Nobody here sent it: the kernel's out-of-memory killer, a container's limit, or a hand.
        return "out_of_memory", "the render process was killed (SIGKILL)"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return "render_crashed", f"the render process died of {name}"
    code = "render_crashed" if ready else "model_unavailable"
    return code, f"the render process ended with status {status}"


def _is_out_of_memory(error: BaseException) -> bool:
    # By name: this module is read by the parent too, which does not import torch.
    names = {base.__name__ for base in type(error).__mro__}
    on_host = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or "OutOfMemoryError" in names or on_host


def _errno(error: BaseException) -> str:
    return f" (errno {error.errno})" if isinstance(error, OSError) and error.errno else ""


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "at an unknown place"
    last = frames[-1]
    return f"at {Path(last.filename).name}:{last.lineno} in {last.name}"
