"""Render a manifest's video again and compare: ``python -m gpu_consumer.verify MANIFEST VIDEO``.

Equal bytes are only promised on one kind of hardware and software; what differs of it is named.
Exit status: 0 equal, 1 different, 2 cannot be compared, with what to do about it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from gpu_consumer.manifest import MAX_BYTES, BadManifestError, Manifest, read
from gpu_consumer.render.events import Cancelled, Died, Failed, Phase, Ready, Rendered, Step
from gpu_consumer.render.job import RenderJob
from gpu_consumer.render.renderer import Renderer
from infra.settings import Settings, settings
from schemas.reasons import REASONS

EQUAL, DIFFERENT, INCOMPARABLE = 0, 1, 2
_CHUNK: Final = 1024 * 1024
_MOST_THREADS: Final = 1024
_THREAD_SETTINGS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Parts of a fingerprint that say which model it is; the rest says on what it runs.
_MODEL_PARTS: Final = ("model", "weights")


class CannotCompareError(Exception):
    """There is nothing to compare with; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of the fingerprints that differs."""

    name: str
    then: str | None
    now: str | None


@dataclass(slots=True)
class Verdict:
    """What the comparison found.

    Attributes:
        equal: The video is, byte for byte, what its manifest gives here.
        video_sha256: Of the video in hand.
        rendered_sha256: Of the one rendered here; None: none was.
        frames_equal: Whether the raw frames are those of the manifest; None: not known.
        promised: Whether hardware and software are the same, so that equality is promised.
        differences: What of hardware and software is not the same.
        detail: In a sentence.
    """

    equal: bool
    video_sha256: str
    rendered_sha256: str | None = None
    frames_equal: bool | None = None
    promised: bool | None = None
    differences: list[Difference] = field(default_factory=list)
    detail: str = ""


def differences(then: str, now: str) -> list[Difference]:
    """The parts in which two fingerprints differ, in the order of the first."""
    old, new = _parts(then), _parts(now)
    names = [*old, *(name for name in new if name not in old)]
    return [
        Difference(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def threads_of(fingerprint: str) -> int | None:
    """How many CPU threads rendered, if the fingerprint says so: their number decides sums."""
    found = re.fullmatch(r"[1-9]\d{0,3}", _parts(fingerprint).get("threads", ""))
    return int(found[0]) if found and int(found[0]) <= _MOST_THREADS else None


def _parts(fingerprint: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in fingerprint.split(";"))
    return {name: value for name, _, value in pairs}


def judged(
    about: Manifest, video: str, rendered: Rendered, rendered_sha256: str, found: list[Difference]
) -> Verdict:
    """The verdict on a finished render.

    Args:
        about: The manifest.
        video: SHA-256 of the video in hand.
        rendered: The end of the render.
        rendered_sha256: Of its video.
        found: What differs of hardware and software.
    """
    frames = None if about.frames_sha256 is None else about.frames_sha256 == rendered.frames_sha256
    equal = video == rendered_sha256 and frames is not False
    if equal:
        detail = "the video is, byte for byte, what its manifest gives"
    elif found:
        detail = (
            "the video differs from what its manifest gives here, but hardware or software "
            "differ too, and equal bytes are only promised where they are the same"
        )
    elif frames:
        detail = "the frames are those of the manifest, but the video in hand has other bytes"
    else:
        detail = "the video is not what its manifest gives, on the same hardware and software"
    return Verdict(equal, video, rendered_sha256, frames, not found, found, detail)


def verify(about: Manifest, video: Path, config: Settings, announced: str | None) -> Verdict:
    """Render ``about`` again and compare it with ``video``.

    Args:
        about: The manifest.
        video: The MP4 in hand.
        config: Which model and device to render with.
        announced: SHA-256 that the job's terminal event named, if that is known.

    Raises:
        CannotCompareError: nothing could be rendered that compares.
        OSError: the video cannot be read.
    """
    own = _sha256(video)
    if announced is not None and own != announced:
        text = "the video in hand is not the one that was announced: its bytes have changed"
        return Verdict(equal=False, video_sha256=own, detail=text)
    if config.model != about.model:
        raise CannotCompareError(
            f"it was rendered with the model {about.model!r}, and this machine has "
            f"{config.model!r}: set TTV_MODEL to that model and repeat it"
        )
    threads = threads_of(about.fingerprint)
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(threads)))
    with tempfile.TemporaryDirectory(prefix="ttv-verify-") as folder:
        out = Path(folder) / "again.mp4"
        own_config = config.model_copy(update={"work_dir": Path(folder)})
        with Renderer(own_config) as renderer:
            found = differences(about.fingerprint, _loaded(renderer).fingerprint)
            _same_model(found)
            rendered = _rendered(renderer, _job(about), out)
        return judged(about, own, rendered, _sha256(out), found)


def _same_model(found: list[Difference]) -> None:
    for one in found:
        if one.name in _MODEL_PARTS:
            raise CannotCompareError(
                f"the model's {one.name} differ: {one.then} then, {one.now} here. "
                "Load that revision of it (TTV_MODEL) and repeat it"
            )


def _job(about: Manifest) -> RenderJob:
    return RenderJob(job_id="verify", **about.spec.model_dump(), fps=about.fps)


def _loaded(renderer: Renderer) -> Ready:
    while True:
        for event in renderer.poll(0.5):
            if isinstance(event, Ready):
                return event
            if isinstance(event, Died):
                raise CannotCompareError(_why(event.code, event.detail))


def _rendered(renderer: Renderer, job: RenderJob, out: Path) -> Rendered:
    renderer.submit(job, out)
    while True:
        for event in renderer.poll(0.5):
            match event:
                case Rendered():
                    return event
                case Failed():
                    raise CannotCompareError(_why(event.code, event.detail))
                case Cancelled():
                    raise CannotCompareError("the render was stopped: repeat it")
                case Step():
                    _say(f"{event.phase} {event.step}/{event.total}")
                case Phase():
                    _say(event.phase)


def _why(code: str, detail: str) -> str:
    shown = REASONS.get(code, REASONS["render_crashed"])
    return (
        f"it could not be rendered here: {shown.title.lower()} ({detail}). A GPU that a slot "
        "renders on is taken: stop that slot, or name a free one with TTV_DEVICE=cuda:N"
    )


def _say(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _printed(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(verdict), indent=2) + "\n")
        return
    lines = [f"{'equal' if verdict.equal else 'DIFFERENT'}: {verdict.detail}"]
    lines += [f"  {one.name}: {one.then} then, {one.now} here" for one in verdict.differences]
    sys.stdout.write("\n".join(lines) + "\n")


def main(arguments: list[str]) -> int:
    """Compare, print the verdict, and return the exit status."""
    parser = argparse.ArgumentParser(prog="gpu_consumer.verify", description=__doc__)
    parser.add_argument("manifest", type=Path, help="the manifest's file")
    parser.add_argument("video", type=Path, help="the MP4")
    parser.add_argument("--sha256", help="SHA-256 of the video as it was announced")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    given = parser.parse_args(arguments)
    try:
        with given.manifest.open("rb") as file:
            about = read(file.read(MAX_BYTES + 1))
        verdict = verify(about, given.video, settings(), given.sha256)
    except BadManifestError as error:
        return _cannot(f"the manifest cannot be used: {error}", as_json=given.json)
    except CannotCompareError as error:
        return _cannot(str(error), as_json=given.json)
    except OSError as error:
        return _cannot(f"{error.filename}: {error.strerror}", as_json=given.json)
    except KeyboardInterrupt:
        return _cannot("it was stopped", as_json=given.json)
    finally:
        _say("")
    _printed(verdict, as_json=given.json)
    return EQUAL if verdict.equal else DIFFERENT


def _cannot(why: str, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": why}, indent=2) + "\n")
    else:
        sys.stderr.write(f"cannot compare: {why}\n")
    return INCOMPARABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
