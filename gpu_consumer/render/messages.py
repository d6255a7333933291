"""What a child may say, read from its lines with nothing taken on trust. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpu_consumer.render.events import Phase, Ready, Step
from gpu_consumer.render.protocol import ProtocolError, count, number, text

PHASES: Final = ("encoding_prompt", "denoising", "decoding", "encoding")
CODES: Final = (
    "out_of_memory",
    "render_crashed",
    "bad_output",
    "invalid_spec",
    "model_unavailable",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """A phase or a step of job number ``run``; with neither, a sign of life."""

    run: int
    phase: str | None = None
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    utilisation: float | None = None

    def event(self, job_id: str) -> Phase | Step | None:
        """The event this is for the renderer's owner."""
        if self.step:
            return Step(job_id, self.step, self.total, "denoising", self.seconds, self.utilisation)
        return None if self.phase is None else Phase(job_id, self.phase)


@dataclass(frozen=True, slots=True)
class Saved:
    """The checkpoint after ``step`` steps of job number ``run`` is durable."""

    run: int
    step: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The checkpoint given with job number ``run`` is not used."""

    run: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The video of job number ``run`` is whole."""

    run: int
    frames_sha256: str
    frames: int
    seconds: float
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Job number ``run`` was cancelled."""

    run: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Job number ``run`` failed; 0: loading the model did.

    ``survived``: the child is unharmed and takes another job.
    """

    run: int
    code: str
    detail: str
    survived: bool


Message = Ready | Progress | Saved | Refused | Finished | Stopped | Failure


def read(fields: Mapping[str, Any]) -> Message:
    """The message that ``fields`` are.

    Raises:
        ProtocolError: they are none.
    """
    reader = _READERS.get(fields["kind"])
    if reader is None:
        raise ProtocolError("a message of an unknown kind")
    return reader(fields)


def _phase(fields: Mapping[str, Any]) -> Progress:
    return Progress(count(fields, "run"), phase=_one_of(fields, "phase", PHASES))


def _alive(fields: Mapping[str, Any]) -> Progress:
    return Progress(count(fields, "run"))


def _rendered(fields: Mapping[str, Any]) -> Finished:
    digest = text(fields, "frames_sha256", 64)
    frames, seconds = count(fields, "frames"), number(fields, "seconds")
    return Finished(count(fields, "run"), digest, frames, seconds, count(fields, "resumed_from"))


def _checkpointed(fields: Mapping[str, Any]) -> Saved:
    return Saved(count(fields, "run"), count(fields, "step"), number(fields, "seconds"))


def _refused(fields: Mapping[str, Any]) -> Refused:
    return Refused(count(fields, "run"), text(fields, "reason"))


def _cancelled(fields: Mapping[str, Any]) -> Stopped:
    return Stopped(count(fields, "run"))


def _failed(fields: Mapping[str, Any]) -> Failure:
    code = _one_of(fields, "code", CODES)
    survived = fields.get("survived") is True
    return Failure(count(fields, "run"), code, text(fields, "detail"), survived)


def _ready(fields: Mapping[str, Any]) -> Ready:
    libraries = fields.get("libraries")
    if not isinstance(libraries, dict) or not all(
        isinstance(part, str) for pair in libraries.items() for part in pair
    ):
        raise ProtocolError("a message with wrong libraries")
    return Ready(
        pid=count(fields, "pid"),
        device=text(fields, "device"),
        device_name=text(fields, "device_name"),
        dtype=text(fields, "dtype"),
        model=text(fields, "model"),
        libraries=libraries,
        fingerprint=text(fields, "fingerprint"),
    )


def _step(fields: Mapping[str, Any]) -> Progress:
    step, total = count(fields, "step"), count(fields, "total")
    if not 1 <= step <= total:
        raise ProtocolError("a message with a wrong step")
    known = fields.get("utilisation") is not None
    return Progress(
        run=count(fields, "run"),
        step=step,
        total=total,
        seconds=number(fields, "seconds"),
        utilisation=min(number(fields, "utilisation"), 1.0) if known else None,
    )


def _one_of(fields: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = text(fields, name)
    if value not in known:
        raise ProtocolError(f"a message with an unknown {name}")
    return value


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    "ready": _ready,
    "phase": _phase,
    "step": _step,
    "alive": _alive,
    "checkpointed": _checkpointed,
    "refused": _refused,
    "rendered": _rendered,
    "cancelled": _cancelled,
    "failed": _failed,
}
