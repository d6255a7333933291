"""One job after another, each ended with one message, whatever renders it.

Runs in the render child.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from gpu_consumer.render.failures import EXIT_AFTER_FAILURE, Interrupted, RenderError, classify
from gpu_consumer.render.job import RenderJob, Resume
from gpu_consumer.render.parent import Parent


class Renderings(ABC):
    """Renders jobs with what has been loaded."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def one(self, run: int, job: RenderJob, out: Path, resume: Resume | None = None) -> None:
        """Renders ``job`` into ``out`` and reports it; failures are reported, not raised.

        Args:
            run: number of the job.
            job: what to render.
            out: where to.
            resume: a checkpoint to go on from, if it fits.
        """
        try:
            done = self._render(run, job, out, resume)
            self._parent.say("rendered", run=run, **done)
        except Interrupted:
            self._parent.say("cancelled", run=run)
        except (RenderError, OSError) as error:
            code, detail = classify(error)
            self._parent.say("failed", run=run, code=code, detail=detail, survived=True)
        except BaseException as error:  # noqa: BLE001 (reported; the process ends)
            code, detail = classify(error)
            self._parent.say("failed", run=run, code=code, detail=detail, survived=False)
            # What failed here may have left the device or the heap in any state.
            os._exit(EXIT_AFTER_FAILURE)

    @abstractmethod
    def _render(self, run: int, job: RenderJob, out: Path, resume: Resume | None) -> dict[str, Any]:
        """Renders ``job``; returns the fields of ``rendered``."""
