"""What the routes of dead letters answer with."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ingest.models import Body, Id, Moment


class LetterOrigin(Body):
    """Where the record lay."""

    topic: str = Field(description="Its topic.")
    partition: int = Field(description="Its partition.")
    offset: int = Field(description="Its offset.")


class LetterBody(Body):
    """A dead letter in short."""

    id: Id = Field(description="The same however often the same failure was told.")
    at: Moment = Field(description="Broker time at which it was first told.")
    code: str = Field(description="Why: a code of the catalogue of reasons.")
    error_class: str = Field(description="retryable, retryable_elsewhere, permanent or conflict.")
    reason: str = Field(description="One sentence. Never holds a prompt.")
    attempts: int = Field(description="Attempts made.")
    tenant_id: str | None = Field(description="Owner, where known.")
    job_id: str | None = Field(description="Job, where known.")
    origin: LetterOrigin = Field(description="Where the record lay.")
    size: int = Field(description="Bytes of the record's value.")
    times: int = Field(description="How often it was told.")


class LetterPage(Body):
    """A page of dead letters."""

    data: list[LetterBody] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Goes on where the page ends; null: it is the end.")
    unreadable: int = Field(description="Records of jobs.dlq since then that are no letters.")


class LetterAttempt(Body):
    """How one start of an attempt ended."""

    attempt: int = Field(description="From 1.")
    slot: int | None = Field(description="Slot it ran on.")
    outcome: str = Field(description="How it ended.")
    code: str | None = Field(description="Why, where it failed.")
    message: str | None = Field(description="Why, in words.")
    at: Moment = Field(description="When.")
    steps: int | None = Field(description="Denoising steps stored by then.")
    counted: bool = Field(description="Whether it counts towards its class's limit.")


class LetterContent(Body):
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
    expires_at: Moment | None = Field(None, description="When it expires.")
    parent_job_id: str | None = Field(None, description="The job that it is a redrive of.")


class LetterRedrivePlan(Body):
    """What a redrive would do."""

    possible: bool = Field(description="Whether it can be redriven.")
    why: str | None = Field(None, description="Why not, and what can be done instead.")
    topic: str | None = Field(None, description="Where the request would go.")
    job_id: str | None = Field(None, description="The job that it would be, always the same one.")
    notes: str | None = Field(None, description="What differs from the original.")


class LetterDetails(LetterBody):
    """A dead letter in full."""

    occurred_at: Moment = Field(description="When it was given up.")
    history: list[LetterAttempt] = Field(description="How its starts ended, oldest first.")
    holds: LetterContent = Field(description="What the record asks for.")
    redrive: LetterRedrivePlan = Field(description="What a redrive would do.")


class LetterRedriven(Body):
    """What became of a redrive."""

    id: Id = Field(description="Of the letter.")
    action: Literal["sent", "ended"] = Field(
        description="sent: the job is asked for; ended: it was before, and has ended by now."
    )
    job_id: str | None = Field(
        description="The new job: the same one however often. Null: a wish to cancel was sent."
    )
    detail: str = Field(description="What differs from the original, or how the job ended.")
