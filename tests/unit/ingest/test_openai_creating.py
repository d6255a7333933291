from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.openai.creating import form_body, form_schema, job_body, renamed
from ingest.submission import InvalidSubmission
from schemas.job import Violation


def broken(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Field and code of every rule that the body breaks."""
    with pytest.raises(InvalidSubmission) as caught:
        job_body(body)
    return [(error.field, error.code) for error in caught.value.errors]


def test_a_body_becomes_that_of_a_job() -> None:
    body = {"prompt": "a fox", "model": "mochi-1", "seconds": "4", "size": "1280x720", "seed": 7}
    assert job_body(body) == {
        "prompt": "a fox",
        "num_frames": 121,
        "width": 1280,
        "height": 720,
        "seed": 7,
    }


def test_what_is_left_out_or_null_is_the_default_of_the_service() -> None:
    nulls = {"model": None, "seconds": None, "size": None, "input_reference": None}
    assert job_body({"prompt": "x"}) == job_body({"prompt": "x", **nulls}) == {"prompt": "x"}


@pytest.mark.parametrize("seconds", [4, "4", "4.0"])
def test_seconds_may_be_a_number(seconds: object) -> None:
    assert job_body({"prompt": "x", "seconds": seconds})["num_frames"] == 121


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("model", "sora-2", "model_not_found"),
        ("model", "", "model_not_found"),
        ("model", 7, "invalid"),
        ("seconds", "12", "invalid_seconds"),
        ("seconds", True, "invalid"),
        ("seconds", 4.0, "invalid"),
        ("seconds", ["4"], "invalid"),
        ("size", "720x1280x3", "invalid_size"),
        ("size", 480, "invalid"),
        ("input_reference", {"image_url": "https://x/y.png"}, "unsupported"),
        ("quality", "high", "unknown_field"),
        ("prompt", None, "invalid"),
    ],
)
def test_each_rule_names_its_field_once(field: str, value: object, code: str) -> None:
    assert broken({"prompt": "x", field: value}) == [(field, code)]


@pytest.mark.parametrize("field", ["num_frames", "width", "height", "pool", "job_id"])
def test_what_this_api_says_in_another_way_is_unknown_to_it(field: str) -> None:
    assert broken({"prompt": "x", field: 64}) == [(field, "unknown_field")]


def test_rules_of_the_job_are_told_of_the_field_that_was_sent() -> None:
    found = [Violation("width", "invalid_width", "w"), Violation("height", "invalid_height", "h")]
    assert [v.field for v in renamed({"size": "720x1280"}, found)] == ["size"]
    assert renamed({"width": 1, "height": 1}, found) == found


def test_a_form_gives_back_what_the_client_flattened() -> None:
    fields = [
        *(("prompt", "7"), ("seconds", "4"), ("seed", "7"), ("guidance_scale", "4.5")),
        *(("metadata[a]", "1"), ("metadata[b[c]]", "true"), ("priority", "low")),
    ]
    assert form_body(fields) == {
        "prompt": "7",
        "seconds": "4",
        "seed": 7,
        "guidance_scale": 4.5,
        "metadata": {"a": "1", "b[c]": "true"},
        "priority": "low",
    }


def test_a_small_number_is_read_as_python_writes_it() -> None:
    assert form_body([("guidance_scale", str(1e-05))]) == {"guidance_scale": 1e-05}


def test_an_integer_may_be_written_as_a_number() -> None:
    assert job_body(form_body([("prompt", "x"), ("seed", "7.0")])) == {"prompt": "x", "seed": 7}


def test_the_schema_of_a_form_knows_no_null() -> None:
    schema = form_schema()
    assert "null" not in json.dumps(schema)
    assert schema["required"] == ["prompt"]
    assert {"seconds", "size", "seed"} <= set(schema["properties"])
    assert not {"metadata", "input_reference"} & set(schema["properties"])


def test_what_is_no_number_stays_text_and_is_refused_as_such() -> None:
    for text in ("7.5", " 7", "1_0", "0x7", "", "9" * 40, "NaN"):
        assert broken(form_body([("prompt", "x"), ("seed", text)])) == [("seed", "invalid")]


@pytest.mark.parametrize(
    "fields",
    [
        [("prompt", "a"), ("prompt", "b")],
        [("metadata[a]", "1"), ("metadata[a]", "2")],
        [("metadata", "x"), ("metadata[a]", "1")],
    ],
)
def test_a_field_given_twice_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        form_body(fields)
    assert [error.code for error in caught.value.errors] == ["repeated_field"]


def test_arrays_are_fields_that_nobody_knows() -> None:
    assert broken(form_body([("prompt", "x"), ("tags[]", "a")])) == [("tags[]", "unknown_field")]
