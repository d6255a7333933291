"""From the request to the video, on real parts."""

import hashlib
import io
import json
import subprocess
import sys
from typing import Any

import av
from minio import Minio

from infra.stack import Stack
from tests.support.api import Api, fresh_id
from tests.support.feeds import completions, events_of

DIRECT = """
import hashlib, json, os, sys
os.environ["HF_HUB_OFFLINE"] = "1"
import numpy, torch
from diffusers import MochiPipeline
from infra.settings import Settings
from gpu_consumer.render.tiny import tiny_model
spec = json.loads(sys.argv[1])
pipe = MochiPipeline.from_pretrained(tiny_model(Settings().model_dir), torch_dtype=torch.float32)
generator = torch.Generator("cpu").manual_seed(spec.pop("seed"))
frames = pipe(**spec, generator=generator, output_type="np").frames[0]
pixels = (frames * 255).round().astype("uint8")
print(hashlib.sha256(numpy.ascontiguousarray(pixels).tobytes()).hexdigest())
"""


def test_a_job_becomes_a_video_that_browsers_play(stack: Stack, api: Api) -> None:
    job_id = api.submit(prompt="a fox in the snow", width=96, height=64, num_frames=13)
    job = api.await_status(job_id, "completed")
    content = api.video(job_id)
    assert hashlib.sha256(content).hexdigest() == job["artifact"]["sha256"]
    assert content[4:8] == b"ftyp"
    assert content.index(b"moov") < content.index(b"mdat"), "plays before it is loaded whole"
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height, float(stream.average_rate or 0)) == (96, 64, 30.0)
        assert len(list(container.decode(stream))) == 13
    assert completions(stack.info)[job_id] == 1


def test_the_timeline_tells_the_way_of_a_job(api: Api) -> None:
    job_id = api.submit()
    api.await_status(job_id, "completed")
    assert api.timeline(job_id) == ["Admitted", "Scheduled", "Started", "Completed"]


def test_the_frames_are_those_of_a_direct_pipeline_call(stack: Stack, api: Api) -> None:
    spec: dict[str, Any] = {
        "prompt": "a paper boat",
        "negative_prompt": "rain",
        "width": 96,
        "height": 64,
        "num_frames": 13,
        "num_inference_steps": 5,
        "guidance_scale": 3.5,
        "seed": 1234,
    }
    job_id = api.submit(**spec)
    api.await_status(job_id, "completed")
    artifact = events_of(stack.info, job_id)[-1].artifact
    assert artifact is not None
    direct = subprocess.run(
        [sys.executable, "-c", DIRECT, json.dumps(spec)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert artifact.frames_sha256 == direct.stdout.split()[-1]


def test_a_manifest_beside_the_video_says_how_to_render_it_again(stack: Stack, api: Api) -> None:
    job_id = api.submit(prompt="a kite", seed=11)
    api.await_status(job_id, "completed")
    artifact = events_of(stack.info, job_id)[-1].artifact
    assert artifact is not None
    s3 = stack.info.s3
    store = Minio(s3.endpoint.removeprefix("http://"), s3.access_key, s3.secret_key, secure=False)
    with store.get_object(s3.bucket, artifact.key.replace(".mp4", ".manifest.json")) as answer:
        manifest = json.loads(answer.read())
    assert manifest["spec"]["seed"] == 11
    assert manifest["frames_sha256"] == artifact.frames_sha256
    assert manifest["libraries"]["diffusers"]


def test_the_same_key_or_id_is_the_same_job(stack: Stack, api: Api) -> None:
    body = {"prompt": "once", "width": 64, "height": 64, "num_frames": 7, "num_inference_steps": 4}
    headers = {"idempotency-key": fresh_id()}
    first = api.http.post("/v1/jobs", json=body, headers=headers).json()
    again = api.http.post("/v1/jobs", json=body, headers=headers).json()
    assert again["id"] == first["id"]
    api.await_status(first["id"], "completed")
    # The first answer, whatever has become of the job since; by its id it is told what has.
    assert api.http.post("/v1/jobs", json=body, headers=headers).json() == first
    late = api.http.post("/v1/jobs", json=body | {"job_id": first["id"]}).json()
    assert (late["id"], late["status"]) == (first["id"], "completed")
    assert completions(stack.info)[first["id"]] == 1


def test_cancel_stops_a_running_render_within_a_step(stack: Stack, api: Api) -> None:
    job_id = api.submit(width=256, height=256, num_frames=61, num_inference_steps=256)
    api.await_status(job_id, "processing")
    assert api.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    api.await_status(job_id, "cancelled", seconds=20)
    assert completions(stack.info)[job_id] == 1
    following = api.submit()
    api.await_status(following, "completed")


def test_cancel_while_waiting_costs_no_gpu(stack: Stack, api: Api) -> None:
    slots = [p for p in stack.info.processes if p.name.startswith("gpu-")]
    long = [
        api.submit(width=256, height=256, num_frames=61, num_inference_steps=256) for _ in slots
    ]
    for job_id in long:
        api.await_status(job_id, "processing")
    waiting = api.submit()
    api.await_status(waiting, "pending")
    assert api.http.post(f"/v1/jobs/{waiting}/cancel").status_code == 202
    api.await_status(waiting, "cancelled", seconds=20)
    assert "Started" not in api.timeline(waiting)
    for job_id in long:
        api.http.post(f"/v1/jobs/{job_id}/cancel")
        api.await_status(job_id, "cancelled", seconds=30)
