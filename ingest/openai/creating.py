"""The body of ``POST /v1/videos``, as JSON or as a form, in the terms of ``/v1/jobs``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import Field, ValidationError, WithJsonSchema

from ingest.models import StrictBody, Time
from ingest.openai import mapping
from ingest.shapes import (
    PRINTABLE,
    Guidance,
    Labels,
    NegativePrompt,
    Prompt,
    Retention,
    Seed,
    Steps,
    WebUrl,
)
from ingest.submission import InvalidSubmission, shape_errors
from schemas.job import MAX_METADATA_BYTES, Violation

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_OWN: Final = ("model", "seconds", "size", "input_reference")
_METADATA: Final = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_NO_REFERENCE: Final = "Mochi-1 makes videos from text alone: leave it out."
# What documents say of a field; what it must be is checked below, where it can be told in words.
_Model = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(mapping.MODELS)})]
_Seconds = Annotated[
    str | int,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": mapping.SECONDS_PATTERN},
                {"type": "integer", "minimum": 1, "maximum": 10},
            ]
        }
    ),
]
_Size = Annotated[str, WithJsonSchema({"type": "string", "pattern": mapping.SIZE_PATTERN})]
_FORMS: Final = (
    f'Use seconds above 0 and at most 10, such as "4"; {mapping.NAME} makes no longer clip.',
    'Use WIDTHxHEIGHT in multiples of 16, at most 1360x768, such as "848x480" or "1280x720".',
)


class VideoBody(StrictBody):
    """One video to be made. What OpenAI has no field for comes through ``extra_body``."""

    prompt: Prompt = Field(description="What to render: at most 8192 bytes of UTF-8.")
    model: _Model | None = Field(None, description="`mochi-1`, which is also the default.")
    seconds: _Seconds | None = Field(
        None, description="Above 0, at most 10; 6*ceil(5*seconds)+1 frames, 30 a second."
    )
    size: _Size | None = Field(
        None, description="WIDTHxHEIGHT, multiples of 16 from 32x32 to 1360x768."
    )
    input_reference: None = Field(None, description="Refused: there is nothing but text to video.")
    negative_prompt: NegativePrompt | None = Field(None, description="What to avoid.")
    num_inference_steps: Steps | None = Field(None, description="Denoising steps, 2 to 256.")
    guidance_scale: Guidance | None = Field(None, description="0 to 30.")
    seed: Seed | None = Field(None, description="0 to 2^32 - 1; drawn once when left out.")
    priority: Literal["high", "normal", "low"] | None = Field(None, description="Default: normal.")
    expires_at: Time | None = Field(
        None, description="In the future: it fails when it has not started by then."
    )
    retention_s: Retention | None = Field(None, description="Seconds to keep the video.")
    webhook_url: WebUrl | None = Field(None, description="Gets the terminal event, signed.")
    metadata: Labels | None = Field(None, description="Labels, given back as they are.")


def form_schema() -> dict[str, Any]:
    """The JSON Schema of a form: it has no null, and its labels are fields ``metadata[NAME]``."""
    schema = VideoBody.model_json_schema()
    fields = {
        name: _present(field)
        for name, field in schema["properties"].items()
        if name not in {"input_reference", "metadata"}
    }
    label = {"type": "string", "maxLength": MAX_METADATA_BYTES, "pattern": PRINTABLE}
    labels = {r"^metadata\[[A-Za-z0-9._-]{1,64}\]$": label | {"description": "A label."}}
    about = "A video to be made, as a form; a label is a field named metadata[NAME]."
    named = {"title": "VideoForm", "description": about}
    return schema | named | {"properties": fields, "patternProperties": labels}


def _present(field: dict[str, Any]) -> dict[str, Any]:
    some = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    said = {name: value for name, value in field.items() if name not in {"anyOf", "default"}}
    return said | ({"anyOf": some} if len(some) > 1 else some[0] if some else {})


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:64])


def job_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``POST /v1/jobs`` that asks for the same.

    Raises:
        InvalidSubmission: with the rules it breaks; those of the job itself are not looked at.
    """
    if body.get("input_reference") is not None:
        raise InvalidSubmission([Violation("input_reference", "unsupported", _NO_REFERENCE)])
    try:
        asked = VideoBody.model_validate(dict(body))
    except ValidationError as error:
        raise InvalidSubmission(_shape(error)) from None
    found = _model(asked)
    fields = {name: value for name, value in body.items() if name not in _OWN}
    if asked.seconds is not None:
        frames = mapping.frames_of(str(asked.seconds))
        found += [Violation("seconds", "invalid_seconds", _FORMS[0])] if frames is None else []
        fields["num_frames"] = frames
    if asked.size is not None:
        sides = mapping.sides_of(asked.size)
        found += [Violation("size", "invalid_size", _FORMS[1])] if sides is None else []
        fields["width"], fields["height"] = sides or (None, None)
    if found:
        raise InvalidSubmission(found)
    return fields


def _model(asked: VideoBody) -> list[Violation]:
    if asked.model is None or asked.model in mapping.MODELS:
        return []
    message = f"This service has no such model; use {mapping.NAME}, or leave it out."
    return [Violation("model", "model_not_found", message)]


def _shape(error: ValidationError) -> list[Violation]:
    # Of a field of several types pydantic tells one error for each: one is enough.
    once = {v.field.partition(".")[0]: v for v in reversed(shape_errors(error))}
    return [Violation(name, v.code, v.message) for name, v in reversed(once.items())]


def renamed(body: Mapping[str, Any], errors: Iterable[Violation]) -> list[Violation]:
    """Broken rules of the job, said of the fields that the client sent."""
    told: list[Violation] = []
    for v in errors:
        of_size = body.get("size") is not None and v.field in {"width", "height"}
        said = Violation("size", "invalid_size", _FORMS[1]) if of_size else v
        told += [said] if said not in told else []
    return told


def form_body(fields: Iterable[tuple[str, str]], file: str | None = None) -> dict[str, Any]:
    """The fields of a form as the JSON object that they were before the client flattened it.

    Numbers become numbers where the field is one; ``metadata[a]`` is an entry of ``metadata``.

    Args:
        fields: Names and values.
        file: The name of a field that is a file.

    Raises:
        InvalidSubmission: a field is there twice, or is a file.
    """
    if file is not None:
        raise InvalidSubmission([Violation(_shown(file), "unsupported", _NO_REFERENCE)])
    body: dict[str, Any] = {}
    for name, text in fields:
        nested = _METADATA.fullmatch(name)
        into: Any = body
        key = name
        if nested is not None:
            into, key = body.setdefault("metadata", {}), nested[1]
        if not isinstance(into, dict) or key in into:
            raise InvalidSubmission([Violation(_shown(name), "repeated_field", "Give it once.")])
        into[key] = text if nested is not None else _typed(name, text)
    return body


def _kinds(annotation: Any) -> set[Any]:
    """The types that a field may have, whatever else is said of them."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return set().union(*(_kinds(kind) for kind in get_args(annotation)))
    return {annotation}


def _typed(name: str, text: str) -> Any:
    field = VideoBody.model_fields.get(name)
    kinds = _kinds(field.annotation) if field is not None else set()
    if str in kinds:
        return text
    if bool in kinds and text in {"true", "false"}:
        return text == "true"
    if int in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if kinds & {int, float} and _NUMBER.fullmatch(text):
        return float(text)
    return text
