"""Lines between renderer and child: bounded, and nothing taken on trust."""

from __future__ import annotations

import json

import pytest

from gpu_consumer.render.events import Phase, Step
from gpu_consumer.render.messages import (
    Failure,
    Finished,
    Progress,
    Refused,
    Saved,
    Stopped,
    read,
)
from gpu_consumer.render.protocol import MAX_LINE, LineReader, ProtocolError, pack


def test_messages_arrive_whole_however_the_bytes_are_cut() -> None:
    sent = pack("phase", {"run": 1, "phase": "decoding"}) + pack("cancelled", {"run": 1})
    for size in (1, 7, len(sent)):
        lines = LineReader()
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        kinds = [message["kind"] for piece in pieces for message in lines.feed(piece)]
        assert kinds == ["phase", "cancelled"]


@pytest.mark.parametrize(
    "line",
    [
        b"Loading pipeline components...\n",
        b"\xff\xfe\n",
        b"\n",
        b"[1]\n",
        b'{"run": 1}\n',
        b'{"kind": 5}\n',
        b"[" * 200_000 + b"\n",
    ],
)
def test_a_line_that_is_no_message_is_refused_and_not_quoted(line: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        list(LineReader().feed(line))
    assert "Loading" not in str(refused.value)


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    lines = LineReader()
    for _ in range(MAX_LINE // 1024 - 1):
        assert list(lines.feed(b"x" * 1024)) == []
    with pytest.raises(ProtocolError):
        list(lines.feed(b"x" * 1024))


def test_the_longest_prompts_fit_into_a_line() -> None:
    job = {"prompt": "\x01" * 8192, "negative_prompt": "\u00e9" * 4096}
    [message] = LineReader().feed(pack("render", {"job": job}))
    assert message["job"] == job


def test_a_longer_message_is_refused_by_its_sender() -> None:
    with pytest.raises(ValueError, match="at most"):
        pack("render", {"prompt": "x" * MAX_LINE})


def test_each_message_becomes_its_event() -> None:
    step: dict[str, object] = {"run": 2, "step": 3, "total": 4, "seconds": 0.5, "utilisation": 0.25}
    assert _progress("step", step) == Step("j", 3, 4, "denoising", 0.5, 0.25)
    assert _read("step", {**step, "utilisation": None}) == Progress(2, None, 3, 4, 0.5, None)
    assert _progress("phase", {"run": 2, "phase": "encoding"}) == Phase("j", "encoding")
    assert _progress("alive", {"run": 2}) is None
    assert _read("cancelled", {"run": 2}) == Stopped(2)
    done: dict[str, object] = {
        "run": 2,
        "frames_sha256": "ab",
        "frames": 7,
        "seconds": 1.5,
        "resumed_from": 3,
    }
    assert _read("rendered", done) == Finished(2, "ab", 7, 1.5, 3)
    assert _read("checkpointed", {"run": 2, "step": 3, "seconds": 0.5}) == Saved(2, 3, 0.5)
    assert _read("refused", {"run": 2, "reason": "why"}) == Refused(2, "why")
    failed: dict[str, object] = {
        "run": 2,
        "code": "out_of_memory",
        "detail": "d",
        "survived": False,
    }
    assert _read("failed", failed) == Failure(2, "out_of_memory", "d", survived=False)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("quit", {}),
        ("alive", {}),
        ("alive", {"run": -1}),
        ("alive", {"run": True}),
        ("phase", {"run": 1, "phase": "dancing"}),
        ("step", {"run": 1, "step": 5, "total": 4, "seconds": 1}),
        ("step", {"run": 1, "step": 0, "total": 4, "seconds": 1}),
        ("step", {"run": 1, "step": 1, "total": 4, "seconds": float("nan")}),
        ("step", {"run": 1, "step": 1, "total": 4, "seconds": 1, "utilisation": "all"}),
        ("rendered", {"run": 1, "frames_sha256": "x" * 65, "frames": 7, "seconds": 1}),
        ("rendered", {"run": 1, "frames_sha256": "x", "frames": 7, "seconds": 1}),
        ("checkpointed", {"run": 1, "step": -1, "seconds": 1}),
        ("checkpointed", {"run": 1, "step": 1, "seconds": -1}),
        ("refused", {"run": 1, "reason": "x" * 5000}),
        ("failed", {"run": 1, "code": "bored", "detail": ""}),
        ("failed", {"run": 1, "code": "bad_output", "detail": "x" * 5000}),
        ("ready", {"pid": 1, "device": "cpu", "device_name": "cpu", "dtype": "f", "model": "m"}),
    ],
)
def test_a_message_with_a_wrong_field_is_refused(kind: str, fields: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        _read(kind, fields)


def _read(kind: str, fields: dict[str, object]) -> object:
    return read(json.loads(json.dumps({"kind": kind, **fields})))


def _progress(kind: str, fields: dict[str, object]) -> object:
    message = _read(kind, fields)
    assert isinstance(message, Progress)
    return message.event("j")
