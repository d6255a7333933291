"""The block list: many terms looked for in one pass (Aho-Corasick)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import ahocorasick

from infra.prompts.matching import matching_form
from infra.settings import Settings


class BadBlockList(ValueError):
    """The block list cannot be used; the message names the line, never the term."""


class BlockList:
    """Terms that a prompt must not hold as whole words.

    Args:
        terms: In any spelling; they are brought into the form that is matched.

    Raises:
        BadBlockList: a term has no letter or digit, and would match everything.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for number, term in enumerate(terms, 1):
            form = matching_form(term)
            if not form.strip():
                raise BadBlockList(f"term {number} has no letter or digit")
            self._automaton.add_word(form)
        self._automaton.make_automaton()

    def __len__(self) -> int:
        return len(self._automaton)

    def blocks(self, *texts: str | None) -> bool:
        """Whether one of ``texts`` holds a term; None holds none."""
        if not len(self):
            return False
        return any(
            next(self._automaton.iter(matching_form(text)), None) is not None
            for text in texts
            if text
        )


def read_terms(text: str) -> list[str]:
    """The terms in a list file: one a line, without comments and blank lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


@functools.lru_cache(maxsize=4)
def _load(path: Path | None) -> BlockList:
    if path is None:
        text = files("infra.prompts").joinpath("blocked_terms.txt").read_text("utf-8")
    else:
        text = path.read_text("utf-8")
    return BlockList(read_terms(text))


def block_list(settings: Settings) -> BlockList:
    """The block list of the settings, read once a process.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read.
        BadBlockList: a line of it is no term.
    """
    return _load(settings.blocked_terms)
