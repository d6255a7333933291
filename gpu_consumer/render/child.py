"""The render process: loads the model once, then renders one job after another.

Started by gpu_consumer.render.renderer, which owns the other ends of its two pipes. All that a job
may do to a process (run out of memory, hang, crash) it does to this one.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import resource
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gpu_consumer.render.failures import EXIT_NO_MODEL, ModelUnavailable, classify
from gpu_consumer.render.job import RenderJob, Resume
from gpu_consumer.render.parent import Parent
from infra.settings import STAND_IN

if TYPE_CHECKING:
    from gpu_consumer.render.renderings import Renderings


def main() -> None:
    """Serves one renderer until it goes away."""
    arguments = argparse.ArgumentParser(prog="gpu_consumer.render.child")
    for name in ("--commands", "--events", "--parent"):
        arguments.add_argument(name, type=int, required=True)
    given = arguments.parse_args()
    _die_with(given.parent)
    _volunteer()
    _keep_quiet()
    for pipe in (given.commands, given.events):
        os.set_inheritable(pipe, False)
    parent = Parent(given.commands, given.events)
    threading.Thread(target=parent.read, name="commands", daemon=True).start()
    renderings = _load(parent, parent.jobs.get())
    while True:
        message = parent.jobs.get()
        resume = _resume(message["resume"])
        job, out = RenderJob(**message["job"]), Path(message["out"])
        renderings.one(message["run"], job, out, resume)


def _resume(paths: list[str] | None) -> Resume | None:
    return None if paths is None else Resume(*map(Path, paths))


def _load(parent: Parent, wanted: dict[str, Any]) -> Renderings:
    if wanted["model"] == "tiny" or Path(wanted["model"]).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        if wanted["model"] == STAND_IN:
            from gpu_consumer.render import standin  # noqa: PLC0415

            return standin.load(parent, wanted)
        # Imported now, as it imports torch: what it finds in the environment is final.
        from gpu_consumer.render import worker  # noqa: PLC0415

        return worker.load(parent, wanted)
    except BaseException as error:  # noqa: BLE001 (reported; the process ends)
        code, detail = classify(error)
        if not isinstance(error, ModelUnavailable):
            # No prompt has come yet, so the message cannot quote one.
            detail = f"{detail}: {error}"[:500]
        if code != "out_of_memory":
            code = ModelUnavailable.code
        parent.say("failed", run=0, code=code, detail=detail, survived=False)
        os._exit(EXIT_NO_MODEL)


def _die_with(parent: int) -> None:
    """Ties this process to its parent's life; a parent that is dead already ends it now."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _volunteer() -> None:
    """Has the kernel's out-of-memory killer take this process before the one that minds it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _keep_quiet() -> None:
    """Keeps prompts out of logs and core files: libraries quote them in warnings and errors."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(2, 1)
    faulthandler.enable()
    sys.excepthook = _report
    threading.excepthook = lambda given: _report(
        given.exc_type, given.exc_value, given.exc_traceback
    )
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ[f"{library}_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _report(
    kind: type[BaseException], _error: BaseException | None, trace: TracebackType | None
) -> None:
    sys.stderr.write("".join(traceback.format_tb(trace)) + f"{kind.__name__}\n")


if __name__ == "__main__":
    main()
