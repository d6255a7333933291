"""What the API's answers hold, as types: the OpenAPI document and the clients' models come from it.

Routes answer with :class:`Json`, made of the dict at hand; nothing is validated or copied on the
way out. That each dict fits its type is held by tests.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from pydantic import ConfigDict, Field
from starlette.responses import Response

from ingest.api.problems import ProblemBody
from ingest.listing import Priority
from ingest.models import Body, Moment
from schemas.states import Status

Phase = Literal[
    "Submitted",
    "Admitted",
    "Scheduled",
    "Started",
    "Retrying",
    "Preempted",
    "Completed",
    "Failed",
    "Cancelled",
    "Refused",
    "Expired",
]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Json(Response):
    """A JSON answer, written at once."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of ``content``."""
        return orjson.dumps(content)


class ReasonBody(Body):
    """Why a job did not simply go on."""

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="What happened, and what can be done about it.")


class ProgressBody(Body):
    """How far a running attempt is: best effort."""

    phase: str = Field(description="What it does now, such as denoising.")
    step: Count = Field(description="Denoising steps done.")
    total: Count = Field(description="Denoising steps in all.")
    eta_s: float | None = Field(description="Seconds that are left; null: not known yet.")
    gpu_utilisation: float | None = Field(description="0 to 1; null: the GPU does not say.")


class QueuePlace(Body):
    """A waiting job's place in its pool's queue. Times are estimates; others may be put before."""

    position: int = Field(
        description="1 is next, 0 has a GPU already; 10000 means 10000 or more.", ge=0
    )
    expected_start_at: Moment | None = Field(
        description="Null: no GPU works, or too many jobs are ahead."
    )
    expected_finish_at: Moment | None = Field(description="Null as the start.")


class ArtifactBody(Body):
    """The finished video."""

    sha256: Sha256 = Field(description="SHA-256 of the MP4's bytes.")
    size: Count = Field(description="Bytes.")
    frames: Count = Field(description="Frames in it.")
    fps: Count = Field(description="Frames a second.")
    width: Count = Field(description="Pixels.")
    height: Count = Field(description="Pixels.")
    duration_s: float = Field(description="Seconds.")


class JobLinks(Body):
    """Where to go on."""

    self: str = Field(description="The job.")
    video: str | None = Field(description="The video; null: there is none, or none any more.")
    manifest: str | None = Field(description="What it takes to render the video again.")


class JobBody(Body):
    """A job. A field that the service does not know, as of a refused job, is null."""

    id: UUID = Field(description="The job's id.")
    object: Literal["job"] = Field(description="What this is.")
    status: Status = Field(description="How far it is.")
    phase: Phase = Field(description="The last thing that happened to it.")
    priority: Priority = Field(description="Its lane.")
    tenant_id: str = Field(description="Whose it is.")
    pool: str = Field(description="Which GPUs render it.")
    prompt: str | None = Field(description="What to render.")
    negative_prompt: str | None = Field(description="What to avoid.")
    width: int | None = Field(description="Pixels.")
    height: int | None = Field(description="Pixels.")
    num_frames: int | None = Field(description="Frames, 30 a second.")
    num_inference_steps: int | None = Field(description="Denoising steps.")
    guidance_scale: float | None = Field(description="How closely the prompt is followed.")
    seed: int | None = Field(description="The same seed gives the same video.")
    attempt: Count = Field(description="The attempt under way, or the last; 0: none yet.")
    reason: ReasonBody | None = Field(description="Why it did not simply go on.")
    progress: ProgressBody | None = Field(description="How far a running attempt is.")
    queue: QueuePlace | None = Field(
        description="A waiting job's place; null where it does not wait, or was not looked up."
    )
    artifact: ArtifactBody | None = Field(description="The finished video.")
    metadata: dict[str, str] = Field(description="The labels that it was submitted with.")
    webhook_url: str | None = Field(description="Told when it ends.")
    expires_at: Moment | None = Field(description="It fails when it has not started by then.")
    retention_s: int | None = Field(
        description="Seconds that its video is kept; null: the deployment decides."
    )
    video_expires_at: Moment | None = Field(
        description="From then on its video is gone; null: it has none, or it is kept for ever."
    )
    parent_job_id: UUID | None = Field(description="The job that this one does again.")
    cancel_requested_at: Moment | None = Field(description="When it was asked to stop.")
    created_at: Moment = Field(description="When it was submitted.")
    updated_at: Moment = Field(description="When something last happened to it.")
    started_at: Moment | None = Field(description="When its first attempt began.")
    completed_at: Moment | None = Field(description="When it ended.")
    links: JobLinks = Field(description="Where to go on.")


class JobPage(Body):
    """A page of jobs."""

    data: list[JobBody] = Field(description="The jobs, in the order that was asked for.")
    next_cursor: str | None = Field(
        description="Goes on where this page ends, with the same filters; null: it was the last."
    )


class EventBody(Body):
    """Something that happened to a job."""

    id: str = Field(description="The same, if the event is told again.")
    kind: str = Field(description="What happened. New kinds may come: skip those you don't know.")
    status: str = Field(description="The job's status from then on.")
    attempt: Count = Field(description="Which attempt; 0: none.")
    slot: int | None = Field(description="Which GPU slot.")
    reason: ReasonBody | None = Field(description="Why.")
    occurred_at: Moment = Field(description="When.")


class Timeline(Body):
    """What happened to a job."""

    id: UUID = Field(description="The job's id.")
    data: list[EventBody] = Field(description="Its events, in the log's order.")


class ManifestSpec(Body):
    """What decides the picture."""

    prompt: str = Field(description="What to render.")
    negative_prompt: str = Field(description="What to avoid.")
    width: Count = Field(description="Pixels.")
    height: Count = Field(description="Pixels.")
    num_frames: Count = Field(description="Frames.")
    num_inference_steps: Count = Field(description="Denoising steps.")
    guidance_scale: float = Field(description="How closely the prompt is followed.")
    seed: Count = Field(description="Of the first noise.")


class ManifestBody(Body):
    """What it takes to render the video again and compare, as it was sealed."""

    model_config = ConfigDict(extra="allow")

    version: Count = Field(description="Of this form.")
    job_id: UUID = Field(description="The job.")
    attempt: Count = Field(description="The attempt that made the video.")
    spec: ManifestSpec = Field(description="What decides the picture.")
    spec_digest: Sha256 = Field(description="SHA-256 of the canonical spec.")
    fps: Count = Field(description="Frames a second.")
    frames_sha256: Sha256 | None = Field(description="SHA-256 of the raw frames.")
    resumed_from: Count = Field(description="Steps that came from a checkpoint.")
    model: str = Field(description="The model and its revision.")
    device: str = Field(description="What it ran on.")
    dtype: str = Field(description="Precision.")
    fingerprint: str = Field(description="Of the renderer.")
    libraries: dict[str, str] = Field(description="Versions, by name.")


class Deletion(Body):
    """A deleted job: it is gone for every other route; what is left of it is being erased."""

    id: UUID = Field(description="The job's id.")
    object: Literal["job.deleted"] = Field(description="What this is.")
    deleted: Literal[True] = Field(description="It is not given out any more.")
    deleted_at: Moment = Field(description="When it was deleted.")


class BatchItem(Body):
    """What became of one job of a batch: ``job`` or ``problem`` is set."""

    index: Count = Field(description="Its place in the request, from 0.")
    status: int = Field(description="The status that it would have had alone: 202, or an error's.")
    job: JobBody | None = Field(description="The job, if it was accepted.")
    problem: ProblemBody | None = Field(description="Why it was not.")


class BatchAnswer(Body):
    """What became of the jobs of a batch, each by itself."""

    object: Literal["batch"] = Field(description="What this is.")
    accepted: Count = Field(description="How many were accepted.")
    refused: Count = Field(description="How many were not.")
    data: list[BatchItem] = Field(description="One a job, in the request's order.")


class Health(Body):
    """The process lives."""

    status: Literal["ok"] = Field(description="It answers.")


class Readiness(Body):
    """The process can do its work."""

    status: Literal["ready"] = Field(description="PostgreSQL and Kafka answer.")


#: What a 304 says: nothing.
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "It is what If-None-Match named."}
}
