"""A full-size checkpoint, written and stored, beside a bare write of the same bytes.

``python -m tests.bench.checkpoints [--data DIR] [--rounds N]``; DIR is the data folder of a running
stack, without it servers of its own are started. The latents are those of 163 frames of 848 x 480,
in bfloat16. ``apart`` has the embeddings stored once for the job, ``whole`` has them in each
checkpoint. Writing is what the render child does (a durable file, then its name), storing is the
guard's; the bare side writes and syncs the same bytes to a new file of the same folder, and
(``put``) sends them to the store unchecked, as one object.

``share_of_step`` is what the denoising loop itself waits for (it only copies the latents) against
an assumed step of 4 s. That is an assumption, not a measurement: replicate.com/genmoai/mochi-1
says of one H100 that a clip takes up to 5 minutes, which 64 steps share at 4.7 s each; fewer steps
would be longer ones, and the share smaller.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save

from gpu_consumer.render import checkpoint
from gpu_consumer.render.checkpointing import Copies
from rust_guard import Claim, Conditioning, Guard, Record
from tests.bench.guard import DIGEST, bucket, servers

STEP_SECONDS = 4.0
LATENTS = (1, 12, 28, 60, 106)
TOKENS, WIDTH = 256, 4096

Put = Callable[[bytes], None]


def latents() -> checkpoint.Tensors:
    return {"latents": torch.randn(LATENTS).to(torch.bfloat16)}


def embeddings() -> checkpoint.Tensors:
    found: checkpoint.Tensors = {}
    for prefix in ("", "negative_"):
        found[f"{prefix}prompt_embeds"] = torch.randn((1, TOKENS, WIDTH)).to(torch.bfloat16)
        found[f"{prefix}prompt_attention_mask"] = torch.ones((1, TOKENS), dtype=torch.bool)
    return found


def bare(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Rounds:
    """Measures one kind of checkpoint: claims of its own, one step after the other."""

    def __init__(
        self, guard: Guard, put: Put, folder: Path, shared: Conditioning | None, claim: Claim
    ) -> None:
        self.guard, self.put, self.folder = guard, put, folder
        self.shared, self.claim = shared, claim
        self.step, self.copies = 0, Copies()

    def once(self, tensors: checkpoint.Tensors) -> dict[str, float]:
        """Seconds of the bare write and PUT, the child's write, storing, and the loop's copy."""
        self.step += 1
        path, part = self.folder / "made", self.folder / "part"
        about = {"step": str(self.step)}
        data = save(tensors, about)
        marks = [time.perf_counter()]
        bare(self.folder / f"bare-{self.step}", data)
        marks.append(time.perf_counter())
        self.put(data)
        marks.append(time.perf_counter())
        checkpoint.write(path, part, tensors, about)
        marks.append(time.perf_counter())
        self.guard.checkpoint(self.claim, path, self.step, 1000, "bench", self.shared)
        marks.append(time.perf_counter())
        _, whole = self.copies.of(tensors["latents"])
        whole()
        marks.append(time.perf_counter())
        (self.folder / f"bare-{self.step}").unlink()
        path.unlink()
        names = ("bare", "put", "write", "store", "copy")
        return {n: b - a for n, a, b in zip(names, marks[:-1], marks[1:], strict=True)}


def claimed(guard: Guard) -> Claim:
    ids = (str(uuid.uuid4()), "bench", str(uuid.uuid4()), 1)
    return guard.claim(*ids, Record("assignments", 0, 7), DIGEST)


def summary(kind: str, size: int, taken: list[dict[str, float]]) -> dict[str, object]:
    medians = {name: statistics.median(one[name] for one in taken) for name in taken[0]}
    both = [(one["write"] + one["store"]) / one["bare"] for one in taken]
    return {
        "kind": kind,
        "rounds": len(taken),
        "bytes": size,
        **{f"{name}_ms": round(1000 * value, 2) for name, value in medians.items()},
        "write_to_bare": round(statistics.median(o["write"] / o["bare"] for o in taken), 2),
        "store_to_put": round(statistics.median(o["store"] / o["put"] for o in taken), 2),
        "write_and_store_to_bare": round(statistics.median(both), 2),
        "share_of_step_percent": round(100 * medians["copy"] / STEP_SECONDS, 4),
        "all_of_step_percent": round(100 * (medians["write"] + medians["store"]) / STEP_SECONDS, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    with (
        servers(args.data) as info,
        bucket(info.s3) as (client, name),
        tempfile.TemporaryDirectory() as made,
    ):
        folder = Path(made)
        guard = Guard(info.s3.endpoint, name, info.s3.access_key, info.s3.secret_key)
        apart, whole, texts = claimed(guard), claimed(guard), embeddings()
        checkpoint.write(folder / "texts", folder / "part", texts, {})

        def put(data: bytes) -> None:
            client.put_object(name, f"bare/{uuid.uuid4()}", io.BytesIO(data), len(data))

        shared = guard.conditioning(apart, folder / "texts")
        sides = {
            "apart": (Rounds(guard, put, folder, shared, apart), checkpoint.Tensors()),
            "whole": (Rounds(guard, put, folder, None, whole), texts),
        }
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in sides}
        for _ in range(args.rounds):
            for kind, (rounds, more) in sides.items():
                taken[kind].append(rounds.once({**latents(), **more}))
        for kind, (_, more) in sides.items():
            size = len(save({**latents(), **more}))
            sys.stdout.write(json.dumps(summary(kind, size, taken[kind])) + "\n")


if __name__ == "__main__":
    main()
