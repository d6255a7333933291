"""What is taken for a checkpoint: exactly one of this job for this model, and nothing else."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from gpu_consumer.render import checkpoint, pipeline
from gpu_consumer.render.checkpoint import Layout, State
from gpu_consumer.render.checkpoint_file import CheckpointRefused
from gpu_consumer.render.job import Resume
from tests.integration.render.checkpoints import FINGERPRINT, JOB, files_of, load

Header = dict[str, Any]


@pytest.fixture(scope="module")
def expected(folder: Path) -> Layout:
    return checkpoint.layout(load(folder), JOB)


@pytest.fixture(scope="module")
def state(folder: Path) -> State:
    pipe = load(folder)
    latents = torch.randn(1, 12, 2, 6, 8, generator=torch.Generator().manual_seed(1))
    return State(3, latents, pipeline.encode_prompt(pipe, JOB))


@pytest.fixture
def resume(tmp_path: Path, state: State) -> Resume:
    return files_of(tmp_path / "job.3.safetensors", JOB, state)


@pytest.fixture(params=["checkpoint", "conditioning"])
def file(request: pytest.FixtureRequest, resume: Resume) -> Path:
    """Each of the two files."""
    found: Path = getattr(resume, request.param)
    return found


def test_what_was_written_is_read(resume: Resume, state: State, expected: Layout) -> None:
    got = checkpoint.read(resume, JOB, expected, FINGERPRINT)
    assert got.step == 3
    assert torch.equal(got.latents, state.latents)
    assert got.conditioning.keys() == state.conditioning.keys()
    for name, one in state.conditioning.items():
        other = got.conditioning[name]
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
    files = {path.name for path in resume.checkpoint.parent.iterdir()}
    assert files == {"job.3.safetensors", "job.3.conditioning.safetensors"}


def test_without_its_conditioning_it_is_refused(resume: Resume, expected: Layout) -> None:
    _refused(replace(resume, conditioning=None), expected)
    _refused(replace(resume, conditioning=resume.checkpoint), expected)


def test_no_prompt_is_in_the_file(file: Path) -> None:
    assert b"cat" not in file.read_bytes()


def test_another_device_or_version_is_no_reason_to_refuse(resume: Resume, expected: Layout) -> None:
    other = FINGERPRINT.replace("device=cpu", "device=other").replace("torch=2", "torch=3")
    assert checkpoint.read(resume, JOB, expected, other).step == 3


@pytest.mark.parametrize("part", ["model=tiny", "weights=ab", "dtype=float32"])
def test_another_model_is(resume: Resume, expected: Layout, part: str) -> None:
    with pytest.raises(CheckpointRefused, match="another model"):
        checkpoint.read(resume, JOB, expected, FINGERPRINT.replace(part, part + "x"))


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "another"},
        {"seed": 6},
        {"guidance_scale": 4.25},
        {"num_inference_steps": 9},
        {"num_inference_steps": 2},
        {"width": 48, "height": 64},
        {"num_frames": 13},
        {"guidance_scale": 1.0},
    ],
)
def test_a_checkpoint_of_another_job_is_refused(
    folder: Path, resume: Resume, change: dict[str, Any]
) -> None:
    job = replace(JOB, **change)
    with pytest.raises(CheckpointRefused):
        checkpoint.read(resume, job, checkpoint.layout(load(folder), job), FINGERPRINT)


def test_the_conditioning_of_another_job_is_refused(
    tmp_path: Path, resume: Resume, state: State, expected: Layout
) -> None:
    other = files_of(tmp_path / "other.safetensors", replace(JOB, job_id="another"), state)
    _refused(replace(resume, conditioning=other.conditioning), expected)


def _about(**change: object) -> Callable[[Header, str], None]:
    return lambda header, _: header["__metadata__"].update(change)


#: What is wrong with a header, told of the name of one of its tensors.
HEADERS: dict[str, Callable[[Header, str], object]] = {
    "no metadata": lambda header, _: header.pop("__metadata__"),
    "metadata of another kind": lambda header, _: header.update(__metadata__=[]),
    "a step past the end": _about(step="9"),
    "a padded step": _about(step="03"),
    "a step of other digits": _about(step="\u0663"),
    "a numeric step": _about(step=3),
    "an endless step": _about(step="3" * 5000),
    "another format": _about(format="x"),
    "more metadata": _about(more="x"),
    "no fingerprint": _about(fingerprint=None),
    "a tensor less": lambda header, name: header.pop(name),
    "a tensor of nothing": lambda header, _: header.update(
        more={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    ),
    "a tensor by another name": lambda header, name: header.update(noise=header.pop(name)),
    "another shape": lambda header, name: header[name]["shape"].reverse(),
    "another dtype": lambda header, name: header[name].update(dtype="I32"),
    "an unknown dtype": lambda header, name: header[name].update(dtype="X9"),
    "a negative shape": lambda header, name: header[name].update(
        shape=[-side for side in header[name]["shape"]]
    ),
    "a shape of text": lambda header, name: header[name].update(shape="x"),
    "places past the end": lambda header, name: header[name].update(data_offsets=[0, 2**62]),
    "places backwards": lambda header, name: header[name].update(data_offsets=[96, 0]),
}


def _swap_places(header: Header, one: str, other: str) -> None:
    first, second = header[one], header[other]
    first["data_offsets"], second["data_offsets"] = second["data_offsets"], first["data_offsets"]


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(
    resume: Resume, file: Path, expected: Layout, name: str
) -> None:
    header, body = _parts(file)
    HEADERS[name](header, "latents" if file == resume.checkpoint else "prompt_embeds")
    _put(file, json.dumps(header).encode(), body)
    _refused(resume, expected)


def test_a_checkpoint_of_no_step_is_refused(resume: Resume, expected: Layout) -> None:
    header, body = _parts(resume.checkpoint)
    header["__metadata__"]["step"] = "0"
    _put(resume.checkpoint, json.dumps(header).encode(), body)
    _refused(resume, expected)


@pytest.mark.parametrize("how", ["one place for both", "places exchanged"])
def test_texts_that_lie_elsewhere_are_refused(resume: Resume, expected: Layout, how: str) -> None:
    assert resume.conditioning is not None
    header, body = _parts(resume.conditioning)
    if how == "places exchanged":
        _swap_places(header, "prompt_embeds", "prompt_attention_mask")
    else:
        header["prompt_embeds"].update(header["negative_prompt_embeds"])
    _put(resume.conditioning, json.dumps(header).encode(), body)
    _refused(resume, expected)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 16_000,
        b'{"__metadata__":' + b"9" * 10_000 + b"}",
        b'{"__metadata__":NaN}',
    ],
)
def test_a_header_that_is_none_is_refused(
    resume: Resume, file: Path, expected: Layout, header: bytes
) -> None:
    _put(file, header, _parts(file)[1])
    _refused(resume, expected)


def test_a_name_that_comes_twice_is_refused(resume: Resume, file: Path, expected: Layout) -> None:
    header, body = _parts(file)
    name = next(name for name in header if name != "__metadata__")
    again = json.dumps({name: header[name]}).encode()
    _put(file, json.dumps(header).encode()[:-1] + b"," + again[1:], body)
    assert set(safetensors.torch.load(file.read_bytes())) <= set(expected)
    _refused(resume, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(
    resume: Resume, state: State, expected: Layout, value: float
) -> None:
    for name, one in {"latents": state.latents, **state.conditioning}.items():
        if one is None or one.dtype == torch.bool:
            continue
        bad = one.clone()
        bad.view(-1)[-1] = value
        changed = {"latents": state.latents, **state.conditioning, name: bad}
        latents = changed.pop("latents")
        assert latents is not None
        files_of(resume.checkpoint, JOB, State(3, latents, changed))
        _refused(resume, expected)


def test_a_boolean_that_is_neither_is_refused(resume: Resume, expected: Layout) -> None:
    assert resume.conditioning is not None
    header, body = _parts(resume.conditioning)
    at = header["prompt_attention_mask"]["data_offsets"][0]
    _put(resume.conditioning, json.dumps(header).encode(), body[:at] + b"\x02" + body[at + 1 :])
    _refused(resume, expected)


def test_what_is_no_file_is_refused(tmp_path: Path, resume: Resume, expected: Layout) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(resume.checkpoint)
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, tmp_path / "missing"):
        _refused(replace(resume, checkpoint=path), expected)
        _refused(replace(resume, conditioning=path), expected)


def test_a_file_that_is_too_short_or_too_long_is_refused(
    resume: Resume, file: Path, expected: Layout
) -> None:
    whole = file.read_bytes()
    for data in (b"", whole[:7], whole[:-1], whole[: len(whole) // 2], whole + b"x"):
        file.write_bytes(data)
        _refused(resume, expected)
    with file.open("wb") as huge:
        huge.truncate(2**40)
    _refused(resume, expected)


def test_no_broken_file_is_fatal_and_no_broken_header_taken(
    resume: Resume, file: Path, expected: Layout
) -> None:
    seed = 20261124
    draw, whole = random.Random(seed), file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    taken = 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(header)] = draw.randrange(256)
        file.write_bytes(data)
        try:
            got = checkpoint.read(resume, JOB, expected, FINGERPRINT)
        except CheckpointRefused:
            continue
        # What no reader sees: other blanks, the same byte, the fingerprint's last part, a step.
        assert {name: (one.dtype, tuple(one.shape)) for name, one in _tensors(got).items()} == (
            expected
        )
        taken += 1
    assert taken < 300, seed


def _tensors(state: State) -> dict[str, torch.Tensor]:
    texts = {name: one for name, one in state.conditioning.items() if one is not None}
    return {checkpoint.LATENTS: state.latents, **texts}


def _parts(file: Path) -> tuple[Header, bytes]:
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _put(file: Path, header: bytes, body: bytes) -> None:
    file.write_bytes(struct.pack("<Q", len(header)) + header + body)


def _refused(resume: Resume, expected: Layout) -> None:
    with pytest.raises(CheckpointRefused) as refused:
        checkpoint.read(resume, JOB, expected, FINGERPRINT)
    assert len(str(refused.value)) < 200
