"""Failure codes, the error tree, and ids that may stand in a key."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

import rust_guard
from rust_guard import (
    FAILURE_CODES,
    FailureClass,
    Guard,
    GuardError,
    InvalidId,
    Record,
    StoreUnavailable,
    classify,
)
from schemas.reasons import REASONS

NOWHERE = "http://127.0.0.1:1"
ERRORS = [
    value
    for name in rust_guard.__all__
    if isinstance(value := getattr(rust_guard, name), type) and issubclass(value, GuardError)
]


@pytest.fixture
def guard() -> Guard:
    return Guard(NOWHERE, "bucket", "key", "secret", timeout_s=0.5)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("out_of_memory", FailureClass.RETRYABLE_ELSEWHERE),
        ("render_crashed", FailureClass.RETRYABLE),
        ("render_stuck", FailureClass.RETRYABLE_ELSEWHERE),
        ("bad_output", FailureClass.RETRYABLE),
        ("store_unavailable", FailureClass.RETRYABLE),
        ("invalid_spec", FailureClass.PERMANENT),
        ("model_unavailable", FailureClass.RETRYABLE_ELSEWHERE),
        ("claim_conflict", FailureClass.CONFLICT),
        ("slot_fenced", FailureClass.RETRYABLE),
        ("unknown", FailureClass.RETRYABLE),
        ("never heard of it", FailureClass.RETRYABLE),
        ("", FailureClass.RETRYABLE),
    ],
)
def test_each_code_has_its_class(code: str, expected: FailureClass) -> None:
    assert classify(code) is expected or classify(code) == expected


def test_classes_have_stable_names() -> None:
    assert [str(c) for c in (FailureClass.RETRYABLE, FailureClass.CONFLICT)] == [
        "retryable",
        "conflict",
    ]
    assert FailureClass.RETRYABLE_ELSEWHERE.value == "retryable_elsewhere"


def test_every_way_a_render_ends_is_classified() -> None:
    ends = list(REASONS)[list(REASONS).index("slot_fenced") :]
    assert set(ends) <= set(FAILURE_CODES)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FAILURE_CODES["new"] = FailureClass.PERMANENT  # type: ignore[index]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_each_error_has_a_code_a_class_and_a_docstring(error: type[GuardError]) -> None:
    assert FAILURE_CODES[error.code] == error.failure_class
    assert error.__doc__
    assert error.__module__ == "rust_guard"


GOOD = {
    "pool_incarnation": str(uuid.uuid4()),
    "tenant_id": "acme",
    "job_id": str(uuid.uuid4()),
    "attempt": 1,
    "record": Record("assignments", 0, 0),
    "spec_digest": "a" * 64,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("tenant_id", bad)
            for bad in ("", ".", "..", "a/b", "../x", "a\0", "ü", "x" * 65, "a b")
        ],
        *[("job_id", bad) for bad in ("", "1", GOOD["job_id"].upper(), "../" + "a" * 33)],  # type: ignore[attr-defined]
        ("pool_incarnation", "main"),
        *[("attempt", bad) for bad in (0, -1, 2**31)],
        *[("spec_digest", bad) for bad in ("a" * 63, "A" * 64, "../" + "a" * 61)],
        ("put_id", "mine"),
        ("topic", "a/b"),
        ("partition", -1),
        ("offset", -1),
    ],
)
def test_an_id_that_may_not_stand_in_a_key_is_named(
    guard: Guard, field: str, value: object
) -> None:
    arguments: dict[str, object] = dict(GOOD)
    if field in {"topic", "partition", "offset"}:
        record: dict[str, object] = {"topic": "t", "partition": 0, "offset": 0} | {field: value}
        arguments["record"] = Record(**record)  # type: ignore[arg-type]
    else:
        arguments[field] = value
    with pytest.raises(InvalidId, match=field):
        guard.claim(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("endpoint", ("nowhere", "bucket", "key", "secret")),
        ("endpoint", ("ftp://host", "bucket", "key", "secret")),
        ("endpoint", ("http://user:pass@host", "bucket", "key", "secret")),
        ("endpoint", ("", "bucket", "key", "secret")),
        ("bucket", (NOWHERE, "../bucket", "key", "secret")),
        ("bucket", (NOWHERE, "", "key", "secret")),
        ("access_key", (NOWHERE, "bucket", "ke\ny", "secret")),
        ("region", (NOWHERE, "bucket", "key", "secret", "eu west")),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_at_once(
    field: str, arguments: tuple[str, str, str, str]
) -> None:
    with pytest.raises(InvalidId, match=field):
        Guard(*arguments)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_deadline_must_be_one(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Guard(NOWHERE, "bucket", "key", "secret", timeout_s=timeout)


def test_no_store_is_unavailable_and_no_secret_is_told(guard: Guard) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        guard.probe()
    assert caught.value.failure_class == FailureClass.RETRYABLE
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(guard)


FORK = """
import os
from rust_guard import Guard
guard = Guard("http://127.0.0.1:1", "bucket", "key", "secret", timeout_s=0.5)
if os.fork() == 0:
    try:
        guard.probe()
    except RuntimeError as error:
        os._exit(0 if "fork" in str(error) else 1)
    os._exit(2)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_guard_made_before_a_fork_says_so_instead_of_hanging() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
