"""What the routes of dead letters answer with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LetterOrigin(BaseModel):
    """Where the record lay."""

    topic: str = Field(description="Its topic.")
    partition: int = Field(description="Its partition.")
    offset: int = Field(description="Its offset.")


class LetterBody(BaseModel):
    """A dead letter in short."""

    id: str = Field(description="UUID: the same however often the same failure was told.")
    at: str = Field(description="Broker time at which it was first told, RFC 3339.")
    code: str = Field(description="Why: a code of the catalogue of reasons.")
    error_class: str = Field(description="retryable, retryable_elsewhere, permanent or conflict.")
    reason: str = Field(description="One sentence. Never holds a prompt.")
    attempts: int = Field(description="Attempts made.")
    tenant_id: str | None = Field(description="Owner, where known.")
    job_id: str | None = Field(description="Job, where known.")
    origin: LetterOrigin = Field(description="Where the record lay.")
    size: int = Field(description="Bytes of the record's value.")
    times: int = Field(description="How often it was told.")


class LetterPage(BaseModel):
    """A page of dead letters."""

    data: list[LetterBody] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Goes on where the page ends; null: it is the end.")
    unreadable: int = Field(description="Records of jobs.dlq since then that are no letters.")


class LetterAttempt(BaseModel):
    """How one start of an attempt ended."""

    attempt: int = Field(description="From 1.")
    slot: int | None = Field(description="Slot it ran on.")
    outcome: str = Field(description="How it ended.")
    code: str | None = Field(description="Why, where it failed.")
    message: str | None = Field(description="Why, in words.")
    at: str = Field(description="When, RFC 3339.")
    steps: int | None = Field(description="Denoising steps stored by then.")
    counted: bool = Field(description="Whether it counts towards its class's limit.")


class LetterContent(BaseModel):
    """What the record asks for; fields that it does not have are null."""

    model_config = ConfigDict(extra="ignore")

    kind: str = Field(description="What kind of record it is.")
    code: str | None = Field(None, description="Why it cannot be read.")
    why: str | None = Field(None, description="The same, in words.")
    job_id: str | None = Field(None, description="The job id that it names.")
    tenant_id: str | None = Field(None, description="The tenant that it names.")
    pool: str | None = Field(None, description="Pool.")
    priority: str | None = Field(None, description="high, normal or low.")
    prompt: str | None = Field(None, description="Hidden unless asked for.")
    negative_prompt: str | None = Field(None, description="Hidden unless asked for.")
    width: int | None = Field(None, description="Pixels.")
    height: int | None = Field(None, description="Pixels.")
    num_frames: int | None = Field(None, description="Frames at 30 a second.")
    num_inference_steps: int | None = Field(None, description="Denoising steps.")
    guidance_scale: float | None = Field(None, description="Classifier-free guidance.")
    seed: int | None = Field(None, description="Seed.")
    expires_at: str | None = Field(None, description="When it expires, RFC 3339.")
    parent_job_id: str | None = Field(None, description="The job that it is a redrive of.")


class LetterRedrivePlan(BaseModel):
    """What a redrive would do."""

    possible: bool = Field(description="Whether it can be redriven.")
    why: str | None = Field(None, description="Why not, and what can be done instead.")
    topic: str | None = Field(None, description="Where the request would go.")
    job_id: str | None = Field(None, description="The job that it would be, always the same one.")
    notes: str | None = Field(None, description="What differs from the original.")


class LetterDetails(LetterBody):
    """A dead letter in full."""

    occurred_at: str = Field(description="When it was given up, RFC 3339.")
    history: list[LetterAttempt] = Field(description="How its starts ended, oldest first.")
    holds: LetterContent = Field(description="What the record asks for.")
    redrive: LetterRedrivePlan = Field(description="What a redrive would do.")


class LetterRedriven(BaseModel):
    """What became of a redrive."""

    id: str = Field(description="Of the letter.")
    action: Literal["sent", "ended"] = Field(
        description="sent: the job is asked for; ended: it was before, and has ended by now."
    )
    job_id: str | None = Field(
        description="The new job: the same one however often. Null: a wish to cancel was sent."
    )
    detail: str = Field(description="What differs from the original, or how the job ended.")
