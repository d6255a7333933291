"""The judge of the storms finds what it is there to find."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest

from gpu_consumer.render.encode import encode
from schemas.records import Artifact, DeadLetter, JobEvent
from tests.chaos.checker import History, judge

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


def letter(job_id: str | None, offset: int = 0) -> DeadLetter:
    return DeadLetter(
        topic="requests",
        partition=0,
        offset=offset,
        value=b"x",
        error_class="permanent",
        code="malformed",
        reason="It is no request.",
        attempts=0,
        tenant_id="t",
        job_id=job_id,
        occurred_at=AT,
    )


def test_a_clean_history_is_clean(video: bytes) -> None:
    feed = [event("a", video), event("b", video, "Cancelled"), event("foreign", video)]
    started = event("a", video, "Started")
    history = History(
        ["a", "b"],
        feed,
        cancelling=["b"],
        bad=[("requests", 0, 7)],
        events=[started, *feed],
        letters=[letter(None, 7)],
        shown={"a": "completed", "b": "cancelled"},
    )
    verdict = judge(history, lambda _: video)
    assert verdict.clean
    assert verdict.outcomes == {"Completed": 1, "Cancelled": 1}


def test_a_duplicate_a_loss_and_a_torn_artifact_are_all_found(video: bytes) -> None:
    feed = [event("a", video), event("a", video, "Failed"), event("torn", video)]
    stored = {"a": video, "torn": video[:-100]}
    history = History(["a", "lost", "torn"], feed)
    verdict = judge(history, lambda artifact: stored[artifact.key])
    assert verdict.duplicates == ["a"]
    assert verdict.losses == ["lost"]
    assert verdict.bad_artifacts == ["torn"]
    assert not verdict.clean


def test_other_bytes_and_missing_bytes_are_found(video: bytes) -> None:
    assert judge(History(["a"], [event("a", video)]), lambda _: None).bad_artifacts == ["a"]
    forged = event("a", b"no video at all")
    verdict = judge(History(["a"], [forged]), lambda _: b"no video at all")
    assert verdict.bad_artifacts == ["a"]


@pytest.mark.parametrize(
    ("events", "completed"),
    [
        (["Completed", "Started"], ["Completed"]),
        (["Completed", "Completed"], ["Completed"]),
        (["Started"], ["Completed"]),
        (["Completed"], []),
        (["Failed"], ["Completed"]),
    ],
    ids=["goes-on-after-its-end", "ends-twice", "one-feed", "other-feed", "another-end"],
)
def test_feeds_that_cannot_both_be_true_are_found(
    video: bytes, events: list[str], completed: list[str]
) -> None:
    history = History(
        ["a"],
        [event("a", video, kind) for kind in completed],
        events=[event("a", video, kind) for kind in events],
    )
    assert judge(history, lambda _: video).contradictions


def test_a_status_that_is_not_the_end_is_found(video: bytes) -> None:
    history = History(["a"], [event("a", video)], shown={"a": "processing"})
    assert judge(history, lambda _: video).contradictions


@pytest.mark.parametrize("kind", ["Cancelled", "Refused", "Expired", "Failed"])
def test_an_end_that_nothing_asked_for_is_found(video: bytes, kind: str) -> None:
    assert judge(History(["a"], [event("a", video, kind)]), lambda _: video).unexplained


def test_a_failure_with_its_letter_is_explained(video: bytes) -> None:
    history = History(["a"], [event("a", video, "Failed")], letters=[letter("a")])
    assert judge(history, lambda _: video).clean


def test_a_bad_record_without_a_letter_is_found(video: bytes) -> None:
    history = History([], [], bad=[("requests", 0, 7)], letters=[letter(None, 8)])
    assert judge(history, lambda _: video).lost_letters == ["requests 0 7"]
