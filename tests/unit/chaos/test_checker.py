"""The judge of the storms finds what it is there to find."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest

from gpu_consumer.render.encode import encode
from schemas.records import Artifact, JobEvent
from tests.chaos.checker import judge

AT = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    frames = [np.full((64, 96, 3), shade, np.uint8) for shade in range(7)]
    encode(frames, path, width=96, height=64, fps=30)
    return path.read_bytes()


def event(job_id: str, video: bytes, kind: str = "Completed") -> JobEvent:
    artifact = Artifact(
        bucket="b",
        key=job_id,
        sha256=hashlib.sha256(video).hexdigest(),
        size=len(video),
        frames=7,
        fps=30,
        width=96,
        height=64,
        duration_s=7 / 30,
    )
    return JobEvent(
        kind=kind,
        event_id=job_id,
        job_id=job_id,
        tenant_id="t",
        pool="p",
        priority="normal",
        status="completed",
        occurred_at=AT,
        submitted_at=AT,
        attempt=1,
        artifact=artifact if kind == "Completed" else None,
        metadata={},
    )


def test_a_clean_history_is_clean(video: bytes) -> None:
    feed = [event("a", video), event("b", video, "Cancelled"), event("foreign", video)]
    verdict = judge(["a", "b"], feed, lambda _: video)
    assert verdict.clean
    assert verdict.outcomes == {"Completed": 1, "Cancelled": 1}


def test_a_duplicate_a_loss_and_a_torn_artifact_are_all_found(video: bytes) -> None:
    feed = [event("a", video), event("a", video, "Failed"), event("torn", video)]
    stored = {"a": video, "torn": video[:-100]}
    verdict = judge(["a", "lost", "torn"], feed, lambda artifact: stored[artifact.key])
    assert verdict.duplicates == ["a"]
    assert verdict.losses == ["lost"]
    assert verdict.bad_artifacts == ["torn"]


def test_other_bytes_and_missing_bytes_are_found(video: bytes) -> None:
    assert judge(["a"], [event("a", video)], lambda _: None).bad_artifacts == ["a"]
    forged = event("a", b"no video at all")
    assert judge(["a"], [forged], lambda _: b"no video at all").bad_artifacts == ["a"]
