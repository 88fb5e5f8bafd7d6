"""When two words mean the same: spelling, plurals and synonyms."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from core.vlm.scoring.reading import words_of

_TABLE = Path(__file__).with_name("synonyms.toml")
_LITTLE = frozenset(
    [
        "a",
        "an",
        "the",
        "some",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "several",
        "many",
        "multiple",
        "few",
        "both",
        "another",
        "my",
        "your",
        "his",
        "her",
        "its",
        "their",
        "this",
        "that",
        "these",
        "those",
        "single",
    ]
)
_NUMBER = re.compile(r"\d+x?|x\d+")
_AFTER = frozenset(
    [
        "of",
        "on",
        "in",
        "with",
        "at",
        "near",
        "behind",
        "under",
        "above",
        "below",
        "over",
        "beside",
        "between",
        "against",
        "by",
        "from",
        "to",
        "next",
        "inside",
        "outside",
        "that",
        "which",
        "is",
        "are",
        "partially",
        "partly",
        "overlapping",
        "made",
        "shaped",
    ]
)
"""Words after which a phrase says more about its noun, or where it is."""
MAX_WORDS = 6


class _Words(NamedTuple):
    spelling: dict[str, str]
    plurals: dict[str, str]
    same: dict[tuple[str, ...], tuple[str, ...]]
    """Words of a phrase to those of the phrase that is kept for it."""


@cache
def _table() -> _Words:
    read = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    same = {
        tuple(other.split()): tuple(kept.split()) for kept, others in read["same"].items() for other in others
    }
    return _Words(read["spelling"], read["plurals"], same)


def spelled(word: str) -> str:
    """Return a word in the spelling used here: `gray` is `grey`."""
    return _table().spelling.get(word, word)


def singular(word: str) -> str:
    """Return the singular of an English noun in lower case; words of other languages mostly stay."""
    plurals = _table().plurals
    if word in plurals or word in plurals.values():
        return plurals.get(word, word)
    if len(word) < 4 or not word.isascii() or word.endswith(("ss", "us", "is", "ous")) or word[-1] != "s":
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes", "uses")) and word not in _KEEP_E:
        return word[:-2]
    return word[:-1]


_KEEP_E = frozenset({"houses", "horseshoes", "blouses", "spouses", "fuses", "muses", "aches", "niches"})


def noun_phrase(text: str) -> tuple[str, ...]:
    """Return what names a thing, as words to compare: `Two gray bikes in a row` gives ("grey", "bicycle").

    Articles and counts go, what follows the noun goes, the noun is put in the singular and replaced by the
    word that is kept for it.
    """
    words = [spelled(word) for word in words_of(text) if word not in _LITTLE and not _NUMBER.fullmatch(word)]
    end = next((at for at, word in enumerate(words) if word in _AFTER and at), len(words))
    words = words[:end][-MAX_WORDS:]
    if words and words[-1] in {"shape", "symbol", "icon", "figure", "object"} and len(words) > 1:
        full = _kept(tuple(words))
        words = list(full) if full != tuple(words) else words[:-1]
    if not words:
        return ()
    return _kept((*words[:-1], singular(words[-1])))


def _kept(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a phrase with its noun replaced by the word that is kept for it, the longest known one first."""
    for start in range(len(words)):
        if words[start:] in _table().same:
            return words[:start] + _table().same[words[start:]]
    return words


@cache
def known_nouns() -> frozenset[tuple[str, ...]]:
    """Return the phrases the table keeps, and the shapes of scenes: what can be looked for in a sentence."""
    from core.scenes import CLASSES

    return frozenset(_table().same.values()) | {(name,) for name in CLASSES}


def nouns_in(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the known nouns a sentence mentions, each once, in the order they come."""
    words = [spelled(word) for word in words_of(text)]
    found: dict[tuple[str, ...], None] = {}
    at = 0
    while at < len(words):
        phrase, length = _longest(words, at)
        if phrase:
            found[phrase] = None
        at += length
    return tuple(found)


def _longest(words: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """Return the longest known noun that begins at a word, and how many words it has; () and 1 for none."""
    for length in range(min(3, len(words) - at), 0, -1):
        phrase = (*words[at : at + length - 1], singular(words[at + length - 1]))
        kept = _table().same.get(phrase, phrase)
        if kept in known_nouns():
            return kept, length
    return (), 1
