"""The rules of a job request: defaults, limits, canonical form. Pure; shared by HTTP and Kafka."""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from schemas.records import JobRequested, Spec

PRIORITIES: Final = ("high", "normal", "low")
DEFAULT_POOL: Final = "mochi-1"
MODEL: Final = "genmo/mochi-1-preview"
FPS: Final = 30

#: What a field means when the request leaves it out. The seed is drawn from the job id.
DEFAULTS: Final[Mapping[str, Any]] = {
    "negative_prompt": "",
    "width": 848,
    "height": 480,
    "num_frames": 163,
    "num_inference_steps": 64,
    "guidance_scale": 4.5,
    "pool": DEFAULT_POOL,
}

MAX_PROMPT_BYTES: Final = 8192
SIDE_STEP, MIN_SIDE, MAX_WIDTH, MAX_HEIGHT = 16, 32, 1360, 768
MAX_FRAMES: Final = 301
#: Mochi's linear-quadratic schedule has no single-step form.
MIN_STEPS: Final = 2
MAX_STEPS: Final = 256
MAX_GUIDANCE: Final = 30.0
MAX_SEED: Final = 2**32 - 1
MAX_RETENTION_S: Final = 365 * 86400
MAX_METADATA, MAX_METADATA_BYTES, MAX_URL = 16, 512, 2048
NAMESPACE: Final = uuid.UUID("6f0c1c52-6f0e-5d4e-9a63-8b7a3f6f2a10")

#: What a tenant's id looks like.
TENANT: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_TENANT = re.compile(TENANT)
_POOL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
# C0 and C1 controls but tab, newline and carriage return; lone surrogates cannot be UTF-8. Bidi
# embeddings, overrides and isolates make a text read otherwise than it is rendered.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a request breaks: ``field``, stable ``code``, and a message with the remedy."""

    field: str
    code: str
    message: str


def valid_tenant(tenant_id: str) -> bool:
    """Whether ``tenant_id`` may stand in topic keys, metric labels and S3 keys."""
    return _TENANT.fullmatch(tenant_id) is not None


def canonical_job_id(text: str) -> str | None:
    """The lower-case hyphenated form of a UUID, or None when ``text`` is none."""
    try:
        parsed = str(uuid.UUID(text))
    except ValueError:
        return None
    return parsed if parsed == text.lower() else None


def event_id(job_id: str, kind: str, attempt: int) -> str:
    """The id of an event: the same if the event is made again. Terminal kinds use attempt 0."""
    return str(uuid.uuid5(NAMESPACE, f"event\x00{job_id}\x00{kind}\x00{attempt}"))


def drawn_seed(job_id: str) -> int:
    """The seed of a job that asked for none: drawn once, whoever asks."""
    return int.from_bytes(hashlib.sha256(f"seed\x00{job_id}".encode()).digest()[:4])


def spec_of(request: JobRequested, job_id: str) -> Spec:
    """The request with every default filled in. Call :func:`violations` first."""

    def given(name: str) -> Any:
        value = getattr(request, name)
        return DEFAULTS[name] if value is None else value

    return Spec(
        prompt=request.prompt,
        negative_prompt=given("negative_prompt"),
        width=given("width"),
        height=given("height"),
        num_frames=given("num_frames"),
        num_inference_steps=given("num_inference_steps"),
        guidance_scale=given("guidance_scale"),
        seed=drawn_seed(job_id) if request.seed is None else request.seed,
    )


def spec_digest(request: JobRequested) -> str:
    """SHA-256 (hex) of what decides the picture: the canonical spec.

    Two requests with one job id and one digest are a repeat; with two digests, a conflict. A seed
    that was not given does not count; defaults and their explicit values are the same.
    """
    canonical = {
        name: DEFAULTS[name] if getattr(request, name) is None else getattr(request, name)
        for name in DEFAULTS
    }
    canonical |= {"prompt": request.prompt, "seed": request.seed, "model": MODEL}
    canonical["guidance_scale"] = float(canonical["guidance_scale"])
    encoded = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(encoded.encode()).hexdigest()


def violations(request: JobRequested, now: datetime) -> list[Violation]:
    """Every rule that ``request`` breaks at broker time ``now``; empty when it is valid."""
    return [*_identity(request), *_text(request), *_picture(request), *_delivery(request, now)]


def _identity(request: JobRequested) -> list[Violation]:
    found = []
    if not valid_tenant(request.tenant_id):
        found.append(Violation("tenant_id", "invalid_tenant", "Use 1 to 64 of A-Z a-z 0-9 . _ -."))
    if request.job_id is not None and canonical_job_id(request.job_id) is None:
        found.append(Violation("job_id", "invalid_job_id", "Use a UUID, or leave it out."))
    if request.parent_job_id is not None and canonical_job_id(request.parent_job_id) is None:
        found.append(Violation("parent_job_id", "invalid_job_id", "Use a UUID, or leave it out."))
    if request.pool is not None and not _POOL.fullmatch(request.pool):
        found.append(Violation("pool", "unknown_pool", "Leave it out for the default pool."))
    return found


def _text(request: JobRequested) -> list[Violation]:
    found = []
    if not request.prompt.strip():
        found.append(Violation("prompt", "prompt_empty", "Say what to render."))
    for name in ("prompt", "negative_prompt"):
        text = getattr(request, name)
        if text is None:
            continue
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_PROMPT_BYTES:
            message = f"{size} bytes of UTF-8; at most {MAX_PROMPT_BYTES}."
            found.append(Violation(name, "prompt_too_long", message))
        elif not printable(text):
            message = "Holds control or bidi characters, or lone surrogates; remove them."
            found.append(Violation(name, "prompt_control_characters", message))
    return found


def printable(text: str) -> bool:
    """Whether ``text`` has neither control characters (but tab and line ends) nor surrogates."""
    return _CONTROL.search(text) is None and not any("\ud800" <= c <= "\udfff" for c in text)


def _picture(request: JobRequested) -> list[Violation]:
    found = []
    for name, most in (("width", MAX_WIDTH), ("height", MAX_HEIGHT)):
        side = getattr(request, name)
        if side is not None and not (MIN_SIDE <= side <= most and side % SIDE_STEP == 0):
            message = f"Use a multiple of {SIDE_STEP} from {MIN_SIDE} to {most}."
            found.append(Violation(name, f"invalid_{name}", message))
    frames = request.num_frames
    if frames is not None and not (1 <= frames <= MAX_FRAMES and frames % 6 == 1):
        message = f"Use 6k+1 frames, at most {MAX_FRAMES}: 7, 13, ..., 301."
        found.append(Violation("num_frames", "invalid_num_frames", message))
    steps = request.num_inference_steps
    if steps is not None and not MIN_STEPS <= steps <= MAX_STEPS:
        message = f"Use {MIN_STEPS} to {MAX_STEPS} denoising steps."
        found.append(Violation("num_inference_steps", "invalid_num_inference_steps", message))
    scale = request.guidance_scale
    if scale is not None and not (math.isfinite(scale) and 0 <= scale <= MAX_GUIDANCE):
        message = f"Use a number from 0 to {MAX_GUIDANCE:g}."
        found.append(Violation("guidance_scale", "invalid_guidance_scale", message))
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        found.append(Violation("seed", "invalid_seed", f"Use 0 to {MAX_SEED}."))
    return found


def _delivery(request: JobRequested, now: datetime) -> list[Violation]:
    found = []
    if request.expires_at is not None and request.expires_at.astimezone(UTC) <= now:
        found.append(Violation("expires_at", "already_expired", "Use a time in the future."))
    keep = request.retention_s
    if keep is not None and not 60 <= keep <= MAX_RETENTION_S:
        message = f"Use 60 to {MAX_RETENTION_S} seconds."
        found.append(Violation("retention_s", "invalid_retention", message))
    if request.webhook_url is not None and not valid_url(request.webhook_url):
        message = f"Use an http or https URL of at most {MAX_URL} characters, without a password."
        found.append(Violation("webhook_url", "invalid_webhook_url", message))
    labels = request.metadata
    if len(labels) > MAX_METADATA or any(
        len(part.encode("utf-8", "surrogatepass")) > MAX_METADATA_BYTES or not printable(part)
        for pair in labels.items()
        for part in pair
    ):
        message = f"At most {MAX_METADATA} printable entries, {MAX_METADATA_BYTES} bytes each."
        found.append(Violation("metadata", "invalid_metadata", message))
    return found


def valid_url(url: str) -> bool:
    """Whether ``url`` has the form of a webhook target; where it leads is checked on delivery."""
    if len(url) > MAX_URL or not url.isascii() or any(c.isspace() for c in url):
        return False
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return False
    named = bool(parts.hostname) and parts.username is None and parts.password is None
    return parts.scheme in {"http", "https"} and named and port_ok and not parts.fragment
