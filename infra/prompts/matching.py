# ruff: noqa: RUF001 letters that look like others are what this file is about
"""The form of a text that terms are looked for in. Pure.

A prompt is rendered as it was sent; only what is compared with a block list is changed: NFKD and
case folding, accents and invisible characters removed, letters of other scripts that look like
Latin ones replaced by those, everything but letters and digits made one space, and letters spelled
out one by one put together. So the usual disguises of a word are that word.

Normalisation: Unicode UAX #15; look-alikes: a part of UTS #39's confusables, those that occur.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

#: Lower-case letters that are drawn like a Latin one, by that Latin letter.
_LOOK_ALIKES: Final[Mapping[str, str]] = {
    "a": "аαɑ",
    "b": "ьвβ",
    "c": "сϲᴄ",
    "d": "ԁ",
    "e": "еєҽε",
    "f": "ғ",
    "g": "ɡց",
    "h": "һнհ",
    "i": "іιıɩ",
    "j": "јϳ",
    "k": "кκ",
    "l": "ӏⅼǀ",
    "m": "мᴍ",
    "n": "пηո",
    "o": "оοσօ",
    "p": "рρ",
    "q": "ԛգ",
    "r": "гᴦ",
    "s": "ѕꜱ",
    "t": "тτ",
    "u": "υսᴜ",
    "v": "ѵν",
    "w": "ԝωш",
    "x": "хχ",
    "y": "уүγ",
    "z": "ᴢ",
}
_SKELETON: Final = str.maketrans(
    {other: latin for latin, others in _LOOK_ALIKES.items() for other in others}
)
#: Digits and signs that stand for letters, where they stand beside letters.
_LEET: Final = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t"})
_LEET_SIGNS: Final = {"@": "a", "$": "s", "!": "i"}
_SIGN: Final = re.compile(r"[@$!](?=\w)")
_INVISIBLE: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"})
_SPACES: Final = frozenset("\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85")
_OTHER: Final = re.compile(r"[\W_]+")
_SPELLED: Final = re.compile(r"\b\w(?: \w)+\b")
_MIXED: Final = re.compile(r"\b(?=\w*[a-z])(?=\w*\d)\w+\b")


def matching_form(text: str) -> str:
    """The text as terms are looked for in it: words with one space before, between and after."""
    folded = _visible(text).casefold()
    if not folded.isascii():
        folded = folded.translate(_SKELETON)
    folded = _SIGN.sub(lambda found: _LEET_SIGNS[found[0]], folded)
    words = _OTHER.sub(" ", folded).strip()
    words = _MIXED.sub(lambda found: found[0].translate(_LEET), words)
    return f" {_SPELLED.sub(lambda found: found[0].replace(' ', ''), words)} "


def _visible(text: str) -> str:
    """``text`` decomposed (NFKD), without accents and what shows nothing."""
    parts = text if text.isascii() else unicodedata.normalize("NFKD", text)
    gone = {
        ord(c): None
        for c in set(parts)
        if c not in _SPACES and unicodedata.category(c) in _INVISIBLE
    }
    return parts.translate(gone) if gone else parts
