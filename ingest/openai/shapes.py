"""The objects that ``/v1/videos`` answers with: every key is always there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from ingest.models import Body, Id
from ingest.openai import mapping
from ingest.openai.mapping import VideoStatus


class VideoError(Body):
    """Why a video was not made."""

    code: str = Field(description="Stable, for programs; as in /v1/jobs.")
    message: str = Field(description="What happened, and what to do.")


class VideoLinks(Body):
    """The same job in the native API, where there is more to see."""

    job: str = Field(description="The job: attempts, phase, timeline, manifest.")
    content: str | None = Field(description="Where the video is, once it is there.")


class Video(Body):
    """A video: a job as the OpenAI client sees it."""

    id: Id = Field(description="The id of the job, a UUID.")
    object: Literal["video"] = Field(description="What this is.")
    model: str = Field(description="The model that makes it.")
    status: VideoStatus = Field(
        description="`cancelled` is outside of OpenAI's contract; its clients' poll() ends on it."
    )
    progress: int = Field(ge=0, le=100, description="Percent; 100 only when it is completed.")
    created_at: int = Field(description="Unix time.")
    completed_at: int | None = Field(description="Unix time of its end, also of a failure.")
    expires_at: int | None = Field(description="Unix time until which the video is kept.")
    prompt: str | None = Field(description="What it is made from.")
    size: str = Field(description="WIDTHxHEIGHT in pixels.")
    seconds: str = Field(description="Its length: (frames - 1) / 30.")
    remixed_from_video_id: None = Field(description="Always null: nothing can be remixed.")
    error: VideoError | None = Field(description="Why it failed; else null.")
    metadata: dict[str, str] = Field(description="Labels, given back as they are.")
    links: VideoLinks = Field(description="Beyond the contract: where else to look.")


class VideoList(Body):
    """One page of videos."""

    object: Literal["list"] = Field(description="What this is.")
    data: list[Video] = Field(description="The videos of this page.")
    first_id: Id | None = Field(description="The first one's id; null on an empty page.")
    last_id: Id | None = Field(description="The last one's id: `after` of the next page.")
    has_more: bool = Field(description="Whether there is a next page.")


class VideoDeleted(Body):
    """A video that is no more."""

    id: Id = Field(description="Its id.")
    deleted: bool = Field(description="That it is deleted.")
    object: Literal["video.deleted"] = Field(description="What this is.")


def _unix(value: datetime | None) -> int | None:
    return None if value is None else int(value.timestamp())


def _error(row: Mapping[Any, Any]) -> VideoError | None:
    if row["status"] != "failed":
        return None
    reason = row["reason"] or {"code": "internal", "message": "It failed."}
    return VideoError(code=reason["code"], message=reason["message"])


def video(row: Mapping[Any, Any]) -> Video:
    """The video that a job's row is."""
    job_id, status = str(row["job_id"]), mapping.video_status(row)
    kept = row["artifact"] and row["video_gone_at"] is None
    content = f"/v1/videos/{job_id}/content" if kept else None
    return Video(
        id=job_id,
        object="video",
        model=mapping.NAME,
        status=status,
        progress=mapping.progress_of(row),
        created_at=int(row["created_at"].timestamp()),
        completed_at=_unix(row["completed_at"]),
        expires_at=_unix(row["video_expires_at"]),
        prompt=mapping.spec_value(row, "prompt"),
        size=f"{mapping.spec_value(row, 'width')}x{mapping.spec_value(row, 'height')}",
        seconds=mapping.seconds_of(mapping.spec_value(row, "num_frames")),
        remixed_from_video_id=None,
        error=_error(row),
        metadata=row["metadata"],
        links=VideoLinks(job=f"/v1/jobs/{job_id}", content=content),
    )


def page(rows: Sequence[Mapping[Any, Any]], limit: int) -> VideoList:
    """A page of at most ``limit`` videos, of one row more if there is one."""
    data = [video(row) for row in rows[:limit]]
    return VideoList(
        object="list",
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(rows) > limit,
    )
