"""How failures are named, without a word of what they were about."""

from __future__ import annotations

import signal

import pytest

from gpu_consumer.render.failures import BadOutput, InvalidSpec, classify, classify_exit


@pytest.mark.parametrize(
    ("status", "ready", "code"),
    [
        (-signal.SIGKILL, True, "out_of_memory"),
        (-signal.SIGKILL, False, "out_of_memory"),
        (-signal.SIGSEGV, True, "render_crashed"),
        (-signal.SIGABRT, False, "render_crashed"),
        (-250, True, "render_crashed"),
        (1, True, "render_crashed"),
        (1, False, "model_unavailable"),
    ],
)
def test_an_exit_says_what_happened(status: int, code: str, *, ready: bool) -> None:
    assert classify_exit(status, ready=ready)[0] == code


def test_a_crash_names_its_signal() -> None:
    assert "SIGSEGV" in classify_exit(-signal.SIGSEGV, ready=True)[1]


def test_an_error_of_ours_keeps_its_message() -> None:
    assert classify(InvalidSpec("width 50")) == ("invalid_spec", "width 50")
    assert classify(BadOutput("not finite")) == ("bad_output", "not finite")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("a secret cat"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate a secret cat"), "out_of_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("a secret cat"), "out_of_memory"),
        (ValueError("`prompt`: a secret cat"), "render_crashed"),
        (OSError(28, "No space left", "/a/secret/cat"), "render_crashed"),
    ],
)
def test_a_foreign_error_gives_its_type_and_place_only(error: Exception, code: str) -> None:
    try:
        _raise(error)
    except Exception as caught:  # noqa: BLE001 (any error is what is tested)
        found, detail = classify(caught)
    assert found == code
    assert detail.startswith(type(error).__name__)
    assert "test_failures.py" in detail
    assert "secret" not in detail


def _raise(error: Exception) -> None:
    raise error
