"""The rules of a job request."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.job import (
    DEFAULTS,
    canonical_job_id,
    drawn_seed,
    spec_digest,
    spec_of,
    valid_tenant,
    valid_url,
    violations,
)
from schemas.records import JobRequested

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ID = "6f0c1c52-6f0e-5d4e-9a63-8b7a3f6f2a10"


def request(**fields: Any) -> JobRequested:
    return JobRequested(**{"tenant_id": "acme", "prompt": "a fox"} | fields)


def test_a_prompt_is_enough() -> None:
    assert violations(request(), NOW) == []
    spec = spec_of(request(), ID)
    assert (spec.width, spec.height, spec.num_frames) == (848, 480, 163)
    assert (spec.num_inference_steps, spec.guidance_scale) == (64, 4.5)
    assert spec.seed == drawn_seed(ID)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tenant_id": "no spaces"}, "invalid_tenant"),
        ({"tenant_id": "../up"}, "invalid_tenant"),
        ({"job_id": "7"}, "invalid_job_id"),
        ({"parent_job_id": "7"}, "invalid_job_id"),
        ({"pool": "No Pool"}, "unknown_pool"),
        ({"prompt": " \n"}, "prompt_empty"),
        ({"prompt": "x" * 8193}, "prompt_too_long"),
        ({"negative_prompt": "é" * 4097}, "prompt_too_long"),
        ({"prompt": "a\x00b"}, "prompt_control_characters"),
        ({"prompt": "a\ud800b"}, "prompt_control_characters"),
        ({"width": 100_000}, "invalid_width"),
        ({"width": 40}, "invalid_width"),
        ({"height": 3}, "invalid_height"),
        ({"height": 784}, "invalid_height"),
        ({"num_frames": 8}, "invalid_num_frames"),
        ({"num_frames": 307}, "invalid_num_frames"),
        ({"num_frames": -5}, "invalid_num_frames"),
        ({"num_inference_steps": -1}, "invalid_num_inference_steps"),
        ({"num_inference_steps": 1}, "invalid_num_inference_steps"),
        ({"guidance_scale": float("nan")}, "invalid_guidance_scale"),
        ({"guidance_scale": 31.0}, "invalid_guidance_scale"),
        ({"seed": -1}, "invalid_seed"),
        ({"seed": 2**32}, "invalid_seed"),
        ({"expires_at": NOW}, "already_expired"),
        ({"retention_s": 5}, "invalid_retention"),
        ({"webhook_url": "ftp://example.com"}, "invalid_webhook_url"),
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_metadata"),
        ({"metadata": {"k": "v" * 513}}, "invalid_metadata"),
        ({"metadata": {"k": "a\nb\x1b"}}, "invalid_metadata"),
    ],
)
def test_a_broken_rule_is_named(fields: dict[str, Any], code: str) -> None:
    assert [found.code for found in violations(request(**fields), NOW)] == [code]


def test_all_broken_rules_are_named_at_once() -> None:
    found = violations(request(width=1, height=1, num_frames=0), NOW)
    assert [violation.field for violation in found] == ["width", "height", "num_frames"]


def test_violations_never_quote_the_request() -> None:
    found = violations(request(prompt="canary " * 2000, tenant_id="canary!"), NOW)
    assert found
    assert "canary" not in repr(found)


def test_a_default_and_its_explicit_value_are_one_spec() -> None:
    explicit = dict(DEFAULTS)
    assert spec_digest(request()) == spec_digest(request(**explicit))


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "b"}, {"width": 64}, {"seed": 1}, {"guidance_scale": 4.0}, {"pool": "other"}],
)
def test_what_decides_the_picture_changes_the_digest(fields: dict[str, Any]) -> None:
    assert spec_digest(request(**fields)) != spec_digest(request())


@pytest.mark.parametrize(
    "fields", [{"metadata": {"a": "b"}}, {"expires_at": NOW + timedelta(1)}, {"job_id": ID}]
)
def test_what_does_not_decide_the_picture_does_not(fields: dict[str, Any]) -> None:
    assert spec_digest(request(**fields)) == spec_digest(request())


def test_an_id_has_one_form() -> None:
    assert canonical_job_id(ID.upper()) == ID
    assert canonical_job_id("{" + ID + "}") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/hook",
        "https://example.com/a?b=c",
    ],
)
def test_urls_that_may_be_called(url: str) -> None:
    assert valid_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "javascript:alert(1)",
        "http://",
        "http://user:pw@example.com",
        "http://example.com:99999/",
        "http://exa mple.com",
        "http://example.com/\r\nX: y",
        "https://example.com/#part",
        "http://[::1",
        "http://" + "a" * 3000,
    ],
)
def test_urls_that_may_not(url: str) -> None:
    assert not valid_url(url)


@given(st.text())
def test_no_text_breaks_the_rules_themselves(text: str) -> None:
    asked = request(prompt=text, tenant_id=text, job_id=text, pool=text, webhook_url=text)
    for violation in violations(asked, NOW):
        assert violation.message
    valid_tenant(text)
