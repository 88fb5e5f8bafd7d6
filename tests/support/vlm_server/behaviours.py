"""What the server does, by the name that is asked for as a model; the same for all three wire formats."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from tests.support.vlm_server.requests import Picture

Ending = Literal["whole", "cut", "hang", "junk", "error"]
"""How a reply that has begun ends. `cut`: hung up after the first piece. `hang`: nothing more after it, with
the connection left open. `junk`: half a JSON text where the second piece should be. `error`: an error of the
service there, after a status of 200."""

Finish = Literal["stop", "length", "filter", "safety", "recitation", "refused", "blocked-prompt"]
"""Why a model stopped. Each wire format has its own word for it, or its own place."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, as no wire format yet."""

    pieces: tuple[str, ...]
    finish: Finish = "stop"
    ending: Ending = "whole"
    first_s: float = 0.0
    """Waited before the first piece."""
    gap_s: float = 0.0
    """Waited between two pieces."""
    thoughts: str = ""
    """What a thinking model shows of its thinking, apart from the answer."""
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    returned: str = ""
    """The model that answers, where it is another one than was asked for."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal with an HTTP status."""

    status: int
    kind: Literal["status", "quota", "bad-key", "blocked", "temperature"] = "status"
    hint_s: float | None = None
    """How long the client is asked to wait."""


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page where JSON should be."""

    status: int


@dataclass(frozen=True, slots=True)
class Silence:
    """The request is read and never answered."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request wants, as far as a behaviour may depend on it."""

    model: str
    """As asked, ORG/ included; the seed of `truth-P` is in it."""
    prompt: str
    picture: Picture | None
    key_digest: str
    earlier: int
    """How many requests for this model came before with the same key."""
    taught: Mapping[tuple[str, str], str]
    """The right answers that the server was told, by the digest of a picture and the prompt."""
    wants_usage: bool = False
    """Whether a stream is to end with the tokens; only OpenAI has to be asked for them."""
    has_temperature: bool = False

    @property
    def picture_digest(self) -> str:
        """SHA-256 of its pixels; empty without a picture."""
        return self.picture.digest if self.picture else ""


Step = Reply | Failure | Page | Silence

SENTENCE = "A red star lies on a plain grey ground, beside a small blue circle."
SUCCESSOR = "loopback-successor"
"""What `other-model` says that it is."""
NO_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0 with this model. "
    "Only the default (1) value is supported."
)
HINT_S = 0.05
HARD_HINT_S = 3600.0
HUGE_BYTES = 10_000_000
IMAGE_TOKENS = 258
UNSURE = "I cannot tell."
"""What `truth-P` says where it knows no better, or is meant to be wrong."""
HOSTILE = (
    "<script>document.title='owned'</script>\n",
    "![beacon](http://127.0.0.1:9/beacon.png?q=secret)\n",
    '<img src="http://127.0.0.1:9/pixel.png" onerror="alert(1)">\n',
    "[a harmless link](http://127.0.0.1:9/elsewhere) [another](javascript:alert(1))\n",
    "control \x00\x07\x1b[31m\x7f and bidi \u202egnp.exe\u202c \u2066isolate\u2069 \u200bzero\ufeff width\n",
    '=HYPERLINK("http://127.0.0.1:9","click")\n',
    "+1+1\n-2+3\n@SUM(1)\n\t=1+1\n\r=1+1\n",
    "```\n$$\\href{javascript:alert(1)}{x}$$ | a | b |\n",
)
"""Pieces of an answer that no page and no export may take at its word."""


def in_pieces(text: str) -> tuple[str, ...]:
    """Cut a text before each of its words; together the pieces are the text."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))


_WORDS = in_pieces(SENTENCE)
_PLAIN: dict[str, Step] = {
    "ok": Reply(_WORDS),
    "slow": Reply(tuple(f"piece{n:02d} " for n in range(1, 21)), first_s=0.05, gap_s=0.05),
    "stall": Reply(_WORDS, ending="hang"),
    "silent": Silence(),
    "cut": Reply(_WORDS, ending="cut"),
    **{f"http-{status}": Failure(status) for status in (400, 401, 402, 403, 404, 408, 500, 503, 504)},
    "http-429": Failure(429, hint_s=HINT_S),
    "http-429-hard": Failure(429, hint_s=HARD_HINT_S),
    "quota": Failure(429, "quota"),
    "bad-key": Failure(401, "bad-key"),
    "blocked-prompt": Reply((), "blocked-prompt"),
    "blocked-answer": Reply(("A red star ", "lies on "), "filter"),
    "safety": Reply((), "safety"),
    "recitation": Reply((), "recitation"),
    "refused": Reply(("I cannot help ", "with that."), "refused"),
    "truncated": Reply(("A red star ", "lies on a "), "length"),
    "thinking": Reply((), "length", reasoning_tokens=64),
    "empty": Reply(()),
    "reasoning-only": Reply((), thoughts="The star looks red to me.", reasoning_tokens=7),
    "counted": Reply(_WORDS, reasoning_tokens=7, cached_tokens=128),
    "cached": Reply(_WORDS, cached_tokens=128),
    "other-model": Reply(_WORDS, returned=SUCCESSOR),
    "malformed": Reply(_WORDS, ending="junk"),
    "error-midway": Reply(_WORDS, ending="error"),
    "html": Page(200),
    "html-error": Page(502),
    "huge": Reply(("many words " * 5957,) * (HUGE_BYTES // 65_527 + 1)),
    "hostile": Reply(HOSTILE),
    "formula": Reply(('=HYPERLINK("http://127.0.0.1:9",', '"click")')),
}
LISTED = (
    *_PLAIN,
    "echo",
    "own-temperature",
    "flaky-2",
    "delay-100",
    "delay-2000",
    "truth-1.0",
    "truth-0.8",
    "truth-0.5",
)
"""What the lists of models show; FLAKY-N, DELAY-N, TRUTH-P and KEY-DIGITS take other values too."""


def behaviour_of(model: str) -> str:
    """Return the behaviour that a model id names: its last part, so that `ORG/ok` is `ok`."""
    return model.rsplit("/", 1)[-1]


def step_for(ask: Ask) -> Step:
    """Return what to do about a request; a name that is no behaviour is a model that does not exist."""
    name = behaviour_of(ask.model)
    return _PLAIN.get(name) or _by_request(name, ask) or Failure(404)


def _by_request(name: str, ask: Ask) -> Step | None:
    family, _, value = name.partition("-")
    sentence = Reply(_WORDS)
    if name == "own-temperature":
        return Failure(400, "temperature") if ask.has_temperature else sentence
    if name == "echo":
        return Reply(in_pieces(ask.prompt))
    if family == "flaky" and value.isdecimal():
        return Failure(503) if ask.earlier % (int(value) + 1) < int(value) else sentence
    if family == "delay" and value.isdecimal():
        return replace(sentence, first_s=int(value) / 1000)
    if family == "truth" and re.fullmatch(r"[01](\.\d+)?", value):
        return Reply(in_pieces(_truth(float(value), ask)))
    if family == "key" and value:
        return sentence if ask.key_digest.startswith(value) else Failure(401, "bad-key")
    return None


def _truth(chance: float, ask: Ask) -> str:
    known = ask.taught.get((ask.picture_digest, ask.prompt.strip()))
    if known is None:
        return UNSURE
    seed = "\n".join((ask.model, ask.prompt, ask.picture_digest))
    return known if random.Random(seed).random() < chance else UNSURE


@lru_cache(maxsize=4096)
def tokens_of(text: str) -> int:
    """Count the tokens of a text as this server does: its words."""
    return len(text.split())


def counts(reply: Reply, ask: Ask) -> dict[str, int]:
    """Return the tokens of a request and its reply: text, image, cached, answer and thoughts."""
    return {
        "text": tokens_of(ask.prompt),
        "image": IMAGE_TOKENS if ask.picture else 0,
        "cached": reply.cached_tokens,
        "answer": sum(tokens_of(piece) for piece in reply.pieces),
        "thoughts": reply.reasoning_tokens,
    }
