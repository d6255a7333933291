"""What the bucket holds of a job, as anyone who may list it sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minio import Minio

from infra.stack.info import StackInfo

_RECORD = re.compile(r"/(\d+)\.json$")
_SEAL = re.compile(r"/\d+-\d+\.json$")


@dataclass(frozen=True)
class Held:
    """Of one job.

    Attributes:
        claims: Attempts that were claimed.
        step: Denoising steps in the newest stored checkpoint; 0: there is none.
        conditionings: What the checkpoints of one start share, so often.
        seals: Videos that were sealed.
    """

    claims: int
    step: int
    conditionings: int
    seals: int


def held(info: StackInfo, job_id: str) -> Held:
    """What is stored of a job of the stack's own tenant now."""
    keys = [*_keys(info, f"checkpoints/{info.tenant}/{job_id}/")]
    steps = [int(found[1]) for key in keys if (found := _RECORD.search(key))]
    videos = _keys(info, f"videos/{info.tenant}/{job_id}/")
    return Held(
        claims=sum(key.split("/")[2] == job_id for key in _keys(info, "claims/")),
        step=max(steps, default=0),
        conditionings=sum(key.endswith("/conditioning.safetensors") for key in keys),
        seals=sum(_SEAL.search(key) is not None for key in videos),
    )


def _keys(info: StackInfo, prefix: str) -> list[str]:
    s3 = info.s3
    endpoint = s3.endpoint.removeprefix("http://")
    client = Minio(endpoint, s3.access_key, s3.secret_key, secure=False)
    found = client.list_objects(s3.bucket, prefix=prefix, recursive=True)
    return [str(one.object_name) for one in found]
