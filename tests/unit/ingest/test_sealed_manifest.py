"""A manifest is given out only if the seal of the very video vouches for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.api.manifest import sealed_manifest

ARTIFACT = {"key": "videos/a/b/c/1-1.mp4", "sha256": "ab" * 32}
SEAL: dict[str, Any] = {
    "version": 1,
    "key": ARTIFACT["key"],
    "sha256": ARTIFACT["sha256"],
    "manifest_sha256": "cd" * 32,
}


def test_the_seal_of_the_video_gives_the_manifests_digest() -> None:
    assert sealed_manifest(json.dumps(SEAL).encode(), ARTIFACT) == "cd" * 32


@pytest.mark.parametrize(
    "seal",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(SEAL | {"sha256": "00" * 32}).encode(),
        json.dumps(SEAL | {"key": "videos/x.mp4"}).encode(),
        json.dumps(SEAL | {"manifest_sha256": 7}).encode(),
        json.dumps({k: v for k, v in SEAL.items() if k != "manifest_sha256"}).encode(),
    ],
)
def test_any_other_seal_vouches_for_none(seal: bytes | None) -> None:
    assert sealed_manifest(seal, ARTIFACT) is None
