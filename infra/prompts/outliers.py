"""Prompts that are unlike what people write: for an audit, not for a refusal. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
import zlib
from typing import Final, Literal

Oddity = Literal["long", "repetitive", "mixed_scripts", "hidden_characters"]

_LONG: Final = 4000
_REPETITIVE_FROM: Final = 400
#: English prose of a few hundred characters shrinks to about half; ten times as much is a loop.
_REPETITION: Final = 8.0
_MAX_SCRIPTS: Final = 3
_HIDDEN: Final = 8
#: Of all scripts, those whose letters pass for each other's.
_ALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN"})
_WORD: Final = re.compile(r"\w+")


def oddities(text: str) -> list[Oddity]:
    """What is unusual about ``text``, in a fixed order; empty for nearly every prompt."""
    found: list[Oddity] = []
    if len(text) > _LONG:
        found.append("long")
    if _repeats(text):
        found.append("repetitive")
    if not text.isascii():
        if _mixes_scripts(text):
            found.append("mixed_scripts")
        if sum(unicodedata.category(c) == "Cf" for c in text) > _HIDDEN:
            found.append("hidden_characters")
    return found


def digest(key: bytes, text: str) -> str:
    """HMAC-SHA256 (hex) of a prompt: the same prompt has the same digest, and none can be guessed.

    Args:
        key: Secret of the deployment.
        text: What must not be kept.
    """
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def _repeats(text: str) -> bool:
    if len(text) < _REPETITIVE_FROM:
        return False
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) > _REPETITION * len(zlib.compress(raw, 1))


def _mixes_scripts(text: str) -> bool:
    seen: set[str] = set()
    for word in _WORD.findall(text):
        scripts = {_script(c) for c in word if c.isalpha()}
        if len(scripts & _ALIKE) > 1:
            return True
        seen |= scripts
    return len(seen) > _MAX_SCRIPTS


def _script(letter: str) -> str:
    # The first word of a letter's name is its script, well enough: Python ships no script table.
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
