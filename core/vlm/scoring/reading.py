"""Readers of what models say: hostile input. Every reader is pure, takes any text and never raises.

Only the first `LIMIT` characters are looked at.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

LIMIT = 10_000
"""Characters. Longer answers are wrong anyhow, and some scores take the square of their length."""
MAX_ITEMS = 200
"""Most items that are read from a list."""

_THOUGHTS = re.compile(r"\A(?:.*?</think(?:ing)?>|\s*<think(?:ing)?>.*)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)(")?(\s*:)?', re.DOTALL)
_BULLET = re.compile(r"^[ \t]*(?:[-*+•·‣–—]|\(?\d{1,3}[.)、:]|\(?[a-zA-Z]\))[ \t]+(\S.*)$", re.MULTILINE)
_SEPARATORS = re.compile(r"[,;\n，、；،|]|\s(?:and|und|et|y|e|og|och|en|и|&|\d{1,2}[.)])\s", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？]")
_INTRODUCTION = re.compile(
    r"^(?:(?:sure|okay|ok|certainly|here|yes)\b\W*)?"
    r"(?:i (?:can )?(?:clearly )?see|i (?:can )?(?:spot|find|identify)|we (?:can )?see|there (?:is|are)"
    r"|(?:the|this) (?:picture|image|photo|scene) (?:shows|contains|has|depicts)"
    r"|(?:the )?(?:visible )?objects?(?: i see| in (?:the|this) (?:picture|image|scene|photo))?"
    r"(?: are| is|:))\s*:?\s+",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(r"(?:[:(（：]|\s[-–—]\s).*$", re.DOTALL)
_ASIDE = re.compile(r"[(（][^()（）]*[)）]")
_WRAPPING = " \t\r\n\"'`*_~.!?…“”„«»‘’「」[]{}<>#"
_NOTHING = frozenset({"", "n/a", "null", "not visible", "empty"})
_NO_THING = re.compile(
    r"(?:(?:but|and) )?(?:no (?:other |more |visible )*(?:objects?|things?|items?)|nothing|none"
    r"|i (?:do not|don['’]t|can ?not|can['’]t) see)\b",
    re.IGNORECASE,
)
_NAME_KEYS = ("name", "label", "object", "class", "shape", "item", "text", "title")
_ANSWER_KEYS = ("answer", "text", "word", "caption", "result", "value", "description", "output", "response")


def spoken(text: str) -> str:
    """Return an answer without the thinking that some models write out before it, in `<think>` or behind it.

    Thinking that does not end leaves nothing.
    """
    return _THOUGHTS.sub("", text, count=1).strip()


def tidy(text: str) -> str:
    """Return a text in one Unicode form, its control and format characters gone, at most `LIMIT` long."""
    composed = unicodedata.normalize("NFKC", text[:LIMIT])[:LIMIT]
    return "".join(c for c in composed if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"})


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation; apostrophes stay inside words."""
    return re.findall(r"\w+(?:['’]\w+)*", tidy(text).casefold())


def plain_answer(text: str) -> str:
    """Return a short answer without what models wrap around it: a fence, JSON with one value, quotes, bold.

    Prose around an answer stays: it is part of what was said.
    """
    inner = _unfenced(tidy(text)).strip()
    if inner[:1] in {"{", "["}:
        found = _only_value(_whole_json(inner))
        inner = tidy(found) if found is not None else inner  # JSON writes any character as letters
    return inner.strip(' \t\r\n"`*“”„«»「」')


def listed(text: str) -> tuple[str, ...]:
    """Return the items of a list in the order given, each once: from JSON, bullets, numbers, or commas.

    Returns:
        Items as written, without markers, explanations and quotes; at most `MAX_ITEMS`; none where the answer
        says that there is nothing.
    """
    inner = _unfenced(tidy(text))
    found = _from_json(inner)
    if found is None:
        bullets = [_EXPLANATION.sub("", _ASIDE.sub("", line)) for line in _BULLET.findall(inner)]
        lines = bullets or [_without_introduction(_ASIDE.sub("", inner))]
        found = [piece for line in lines for piece in _SEPARATORS.split(line)]
    items = (_clean(item) for item in found)
    kept = dict.fromkeys(
        item for item in items if item.casefold() not in _NOTHING and not _NO_THING.match(item)
    )
    return tuple(kept)[:MAX_ITEMS]


def _unfenced(text: str) -> str:
    """Return what stands in the first fence, closed or not; the whole text where there is none."""
    fence = _FENCE.search(text)
    return fence[1] if fence else text


def _clean(item: str) -> str:
    """Return an item without markers, quotes, explanation, and characters that only JSON could hold."""
    return _EXPLANATION.sub("", tidy(item).strip(_WRAPPING)).strip(_WRAPPING)


def _without_introduction(text: str) -> str:
    """Return prose without its opening: what stands before a colon, or words such as "I see".

    Where more colons follow on the same line or later, each stands between a thing and what is said of it.
    """
    _, colon, tail = text.partition(":")
    if colon and tail.strip() and (tail.lstrip(" ").startswith("\n") or ":" not in tail):
        text = tail
    sentences = [_INTRODUCTION.sub("", sentence.strip()) for sentence in _SENTENCE_END.split(text)]
    return "\n".join(sentences)


def _whole_json(text: str) -> Any:
    """Return the JSON value a text is; None where it is none, or nested too deeply to read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _only_value(value: Any) -> str | None:
    """Return the one answer in a JSON value, or None where there is not exactly one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        named = [value[key] for key in _ANSWER_KEYS if key in value]
        value = named[0] if named else next(iter(value.values())) if len(value) == 1 else None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else None


def _from_json(text: str) -> list[str] | None:
    """Return the items of the first JSON list or object in a text, also of one that was cut off."""
    start = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        is_count = isinstance(value, list) and value and all(isinstance(part, int) for part in value)
        return None if is_count else list(_names(value))
    except RecursionError:
        return []
    except ValueError:
        looks_like_json = re.match(r"[\[{][\s\[{]*\"", text[start:])
        return _cut_off(text[start:]) if looks_like_json else None


def _names(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names in a JSON value: strings, named fields of objects, keys that count something."""
    if isinstance(value, str):
        yield value
    elif depth > 6:
        return
    elif isinstance(value, list):
        for part in value[:MAX_ITEMS]:
            yield from _names(part, depth + 1)
    elif isinstance(value, dict):
        yield from _names_of_fields(value, depth)


def _names_of_fields(fields: dict[str, Any], depth: int) -> Iterator[str]:
    colour = next((fields[key] for key in ("colour", "color") if isinstance(fields.get(key), str)), "")
    for key in _NAME_KEYS:
        if isinstance(fields.get(key), str):
            yield f"{colour} {fields[key]}".strip()
            return
    nested = [part for part in fields.values() if isinstance(part, list | dict)]
    if nested:
        for part in nested:
            yield from _names(part, depth + 1)
    else:
        yield from (key for key, count in fields.items() if count)


def _cut_off(text: str) -> list[str]:
    """Return the whole strings of JSON that ends too early: of named fields where there are any."""
    found: list[tuple[str, str]] = []
    key = ""
    for string, end, colon in _STRING.findall(text):
        if colon:
            key = string
        elif end:
            found.append((key, _whole_json(f'"{string}"') or string))
    named = [string for key, string in found if key in _NAME_KEYS]
    return named or [string for _, string in found]
