"""What it takes to render a video again and compare: stored beside it, hashed into its seal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gpu_consumer.render.events import Ready
from schemas.job import FPS, violations
from schemas.records import JobRequested, Spec

if TYPE_CHECKING:
    from gpu_consumer.attempt import Attempt

_VERSION: Final = 1
#: The guard stores no larger one.
MAX_BYTES: Final = 64 * 1024

_Line = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[ -~]*$")]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def manifest(attempt: Attempt, ready: Ready) -> str:
    """The manifest of a finished render, as JSON.

    Args:
        attempt: The render; its ``frames_sha256`` is known.
        ready: What rendered it.
    """
    return json.dumps(
        {
            "version": _VERSION,
            "job_id": attempt.job.job_id,
            "attempt": attempt.number,
            "spec": attempt.job.spec.model_dump(),
            "spec_digest": attempt.job.spec_digest,
            "fps": FPS,
            "frames_sha256": attempt.frames_sha256,
            "resumed_from": attempt.resumed_from,
            "model": ready.model,
            "device": ready.device_name,
            "dtype": ready.dtype,
            "fingerprint": ready.fingerprint,
            "libraries": ready.libraries,
        },
        sort_keys=True,
    )


class BadManifestError(Exception):
    """The bytes are no manifest that this version can use; quotes nothing of them."""


class Manifest(BaseModel):
    """A manifest as it was read; nothing in it is trusted beyond its shape."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    version: Annotated[int, Field(ge=_VERSION, le=_VERSION)]
    job_id: _Line
    attempt: int
    spec: Spec
    spec_digest: _Digest
    fps: Annotated[int, Field(ge=FPS, le=FPS)]
    frames_sha256: _Digest | None
    resumed_from: int
    model: _Line
    device: _Line
    dtype: _Line
    fingerprint: _Line
    libraries: dict[_Line, _Line]


def read(content: bytes) -> Manifest:
    """The manifest in ``content``.

    Raises:
        BadManifestError: it is none, or asks for what Mochi-1 cannot render here.
    """
    if len(content) > MAX_BYTES:
        raise BadManifestError(f"it has {len(content)} bytes; a manifest has at most {MAX_BYTES}")
    try:
        fields = json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
        found = Manifest.model_validate(fields, strict=True)
    except ValidationError as error:
        raise BadManifestError(f"{error.error_count()} of its fields are not right") from None
    except (ValueError, RecursionError) as error:
        raise BadManifestError(f"it is not one JSON object ({type(error).__name__})") from None
    spec = found.spec.model_dump()
    broken = violations(JobRequested(tenant_id="manifest", **spec), datetime.now(UTC))
    if broken:
        raise BadManifestError(f"it asks for what cannot be rendered: {broken[0].code}")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name is there twice")
    return fields


def _no_constant(_: str) -> None:
    raise ValueError("not a number of JSON")
