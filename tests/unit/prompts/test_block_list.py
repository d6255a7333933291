# ruff: noqa: RUF001 letters that look like others are what is tested
from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from infra.prompts.block_list import BadBlockList, BlockList, block_list, read_terms
from infra.settings import Settings

TERMS = BlockList(["forbidden thing", "zork"])


@pytest.mark.parametrize(
    "text",
    [
        "a forbidden thing",
        "A FORBIDDEN\n\tTHING!",
        "ｆｏｒｂｉｄｄｅｎ thing",
        "forbidden\u00a0thing",
        "for\u200bbid\u00adden th\u2060ing",
        "forbidden-thing",
        "forbidden... thing",
        "fórbïdden thîng",
        "fоrbіddеn thіng",
        "f0rb1dd3n thing",
        "f o r b i d d e n thing",
        "z.o.r.k",
        "Z O R K",
        "z\u0336o\u0336r\u0336k\u0336",
        "𝖟𝖔𝖗𝖐",
        "ⓩⓞⓡⓚ",
        "z0rk, please",
        "zork\U000e0041",
        "a cat (zork) sits",
    ],
)
def test_a_disguised_term_is_that_term(text: str) -> None:
    assert TERMS.blocks(text)
    assert TERMS.blocks("a cat", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "a forbiddenthing",
        "forbidden things",
        "thing forbidden",
        "zorks",
        "unzork",
        "a 4k video of 3 dogs, 1980s style",
        "кот сидит на окне",
        "猫が窓に座っている",
        "قطة على النافذة",
        "👩‍👩‍👧 at 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ],
)
def test_what_holds_no_term_passes(text: str) -> None:
    assert not TERMS.blocks(text)
    assert not TERMS.blocks(None, text)


def test_every_term_of_the_built_in_list_blocks_itself_and_ordinary_prompts_pass() -> None:
    source = Path("infra/prompts/blocked_terms.txt").read_text("utf-8")
    made = block_list(Settings())
    terms = read_terms(source)
    assert len(made) == len(terms) > 20
    assert all(made.blocks(f"a video of {term.upper()}, 4k") for term in terms)
    for fine in (
        "a child playing football in the park at sunset",
        "children laughing around a birthday cake",
        "a minor earthquake shakes a shelf",
        "a nude statue in a museum, slow pan",
        "a middlesex cricket match",
    ):
        assert not made.blocks(fine), fine


def test_a_deployments_own_list_replaces_the_built_in_one(tmp_path: Path) -> None:
    listed = tmp_path / "terms"
    listed.write_text("# mine\n\nacme logo  # a trade mark\nÉCLAIR\n", "utf-8")
    made = block_list(Settings(blocked_terms=listed))
    assert len(made) == 2
    assert made.blocks("the ACME logo")
    assert made.blocks("an eclair")
    assert not made.blocks("csam")


def test_a_term_that_would_match_everything_is_refused_and_not_quoted() -> None:
    with pytest.raises(BadBlockList, match=re.escape("term 2 has no letter")):
        BlockList(["fine", "---"])


def test_an_empty_list_blocks_nothing() -> None:
    assert not BlockList([]).blocks("anything")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 8192,
        "forbidden " * 800,
        "\u0301" * 4096,
        "ﷺ" * 2700,  # each becomes 18 characters
        "a " * 4096,
        "\u200b" * 2700,
        "a1" * 4096,
    ],
)
def test_the_longest_prompts_take_milliseconds(text: str) -> None:
    began = time.perf_counter()
    TERMS.blocks(text)
    assert time.perf_counter() - began < 1.0  # 2 to 30 ms; quadratic work would take minutes
