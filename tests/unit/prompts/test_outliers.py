# ruff: noqa: RUF001 letters that look like others are what is tested
from __future__ import annotations

import pytest

from infra.prompts.outliers import digest, oddities

ORDINARY = (
    "A slow dolly shot through a rain-soaked market at night: neon signs reflect in puddles, a "
    "vendor folds dumplings under a red awning, steam drifts past the lens, and a cat watches from "
    "a crate. Shallow depth of field, 35 mm, film grain, the colours of late autumn. The camera "
    "stops at a door that is slowly opened by a child in a yellow coat who looks up and smiles."
)


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        ORDINARY,
        "кот и dog",
        "東京の夜 with neon",
        "a Ω symbol",
        "👩‍👩‍👧",
        "قطة على النافذة",
        "",
    ],
)
def test_what_people_write_is_not_odd(text: str) -> None:
    assert oddities(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("".join(chr(0x4E00 + n) for n in range(4001)), ["long"]),
        ("cat " * 200, ["repetitive"]),
        ("a pаyраl logo", ["mixed_scripts"]),
        ("cat кот γάτα 猫 قطة", ["mixed_scripts"]),
        ("a\u200b" * 9, ["hidden_characters"]),
        ("a\u200b" * 2001, ["long", "repetitive", "hidden_characters"]),
    ],
)
def test_what_people_do_not_write_is_odd(text: str, found: list[str]) -> None:
    assert oddities(text) == found


def test_a_digest_needs_the_key_and_does_not_hold_the_prompt() -> None:
    assert digest(b"one", "a cat") == digest(b"one", "a cat")
    assert digest(b"one", "a cat") != digest(b"two", "a cat")
    assert digest(b"one", "a cat") != digest(b"one", "a dog")
    assert len(digest(b"one", "\ud800")) == 64
