"""The body of ``POST /v1/jobs``: its shape, and every rule it breaks. Pure.

Fields that are left out stay null: only so does a job mean the same over HTTP and over Kafka.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ingest.models import StrictBody, Time
from ingest.shapes import (
    Frames,
    Guidance,
    Height,
    JobId,
    Labels,
    NegativePrompt,
    Pool,
    Prompt,
    Retention,
    Seed,
    Steps,
    WebUrl,
    Width,
    web_url,
)
from schemas.job import DEFAULT_POOL, Violation, canonical_job_id, violations
from schemas.records import JobRequested

_MAX_ERRORS: Final = 20
_MAX_NAME: Final = 64
#: pydantic's error types as the codes of this API; the rest are ``invalid``.
_CODES: Final = {"missing": "missing", "extra_forbidden": "unknown_field"}


class SubmitBody(StrictBody):
    """One video to be made. All but the prompt may be left out or null: the default applies."""

    prompt: Prompt = Field(description="What to render: at most 8192 bytes of UTF-8.")
    negative_prompt: NegativePrompt | None = Field(
        None, description="What to avoid: at most 8192 bytes of UTF-8."
    )
    width: Width | None = Field(None, description="Multiple of 16, 32 to 1360.")
    height: Height | None = Field(None, description="Multiple of 16, 32 to 768.")
    num_frames: Frames | None = Field(None, description="6k+1, at most 301; 30 a second.")
    num_inference_steps: Steps | None = Field(None, description="Denoising steps, 2 to 256.")
    guidance_scale: Guidance | None = Field(None, description="0 to 30.")
    seed: Seed | None = Field(None, description="0 to 2^32 - 1; drawn once when left out.")
    pool: Pool | None = Field(None, description="Which GPUs; leave it out for the default.")
    priority: Literal["high", "normal", "low"] | None = Field(None, description="Default: normal.")
    job_id: JobId | None = Field(None, description="A UUID: the same one again is the same job.")
    expires_at: Time | None = Field(
        None, description="In the future: the job fails when it has not started by then."
    )
    retention_s: Retention | None = Field(None, description="Seconds to keep the video.")
    webhook_url: WebUrl | None = Field(None, description="Gets the terminal event, signed.")
    metadata: Labels | None = Field(None, description="Labels, given back as they are.")


class InvalidSubmission(ValueError):
    """The request breaks rules; ``errors`` lists them, without the values."""

    def __init__(self, errors: list[Violation]) -> None:
        super().__init__(f"{len(errors)} rules broken")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid request: the record to produce (without its job id, if none was given)."""

    request: JobRequested
    priority: str

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the whole request: what an Idempotency-Key is bound to."""
        # A submission has no parent; what was stored before requests had the field must still fit.
        asked = self.request.model_dump(mode="json", exclude={"parent_job_id"})
        content = asked | {"priority": self.priority}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def submission(
    body: dict[str, Any], tenant_id: str, now: datetime, pools: tuple[str, ...] = (DEFAULT_POOL,)
) -> Submission:
    """The submission in a parsed body, for the tenant that the key belongs to.

    Raises:
        InvalidSubmission: with every rule it breaks.
    """
    try:
        fields = SubmitBody.model_validate(body).model_dump()
    except ValidationError as error:
        raise InvalidSubmission(shape_errors(error)) from None
    priority = fields.pop("priority") or "normal"
    fields["metadata"] = fields["metadata"] or {}
    request = JobRequested(tenant_id=tenant_id, **fields)
    found = violations(request, now)
    if request.pool is not None and request.pool not in pools:
        found = [v for v in found if v.field != "pool"]
        found.append(Violation("pool", "unknown_pool", "Leave it out for the default pool."))
    url = request.webhook_url
    if url is not None and not web_url(url) and "webhook_url" not in {v.field for v in found}:
        found.append(Violation("webhook_url", "invalid_webhook_url", "Use an http or https URL."))
    if found:
        raise InvalidSubmission(found)
    if request.job_id is not None:
        request = request.model_copy(update={"job_id": canonical_job_id(request.job_id)})
    return Submission(request, priority)


def shape_errors(error: ValidationError) -> list[Violation]:
    """What pydantic found, in this API's terms: names are cut short, values left out."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"])[:_MAX_NAME]
        printable = "".join(c if c.isprintable() else "?" for c in name)
        code = _CODES.get(item["type"], "invalid")
        found.append(Violation(printable, code, f"{item['msg']}."))
    return found[:_MAX_ERRORS]
