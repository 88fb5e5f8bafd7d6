"""Text to tokens and back: whole words of the scenes' language, and single letters for words in capitals."""

import re
from collections.abc import Sequence

from core.scenes import CLASSES, COLOURS
from core.scenes.textures import BACKGROUNDS, GROUNDS
from core.scenes.truth import plural

PAD, START, ANSWER, END, UNKNOWN = range(5)
SPECIAL = ("<pad>", "<start>", "<answer>", "<end>", "<unknown>")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PUNCTUATION = (*",.?\";:-'()",)
_OTHER = """
    a an and answer any appear appears are background be by caption checkered colour color count
    describe dotted does each everything exists find from gridded has have how i image in is it
    large largest left letters list many me medium most mottled name no none not object objects of
    on one only or photo picture present read right say scene see seen sentence separated shape
    shapes short show shown shows small striped tell text that the there things this to visible what
    where which with word words write written yes you commas comma 0 1 2 3 4 5 6 7 8
"""
_TOKEN = re.compile(r"[A-Za-z]+|\d+|[^\w\s]")
MAX_PROMPT_TOKENS = 48
"""Longer prompts lose their beginning; what is asked mostly stands at the end."""


def make_vocabulary() -> tuple[str, ...]:
    """Return all tokens, the special ones first. Their order belongs to a checkpoint: its card has it."""
    words = {*_OTHER.split(), *CLASSES, *map(plural, CLASSES), *COLOURS, *BACKGROUNDS}
    words |= {part for ground in GROUNDS for part in ground.split()}
    return (*SPECIAL, *_PUNCTUATION, *LETTERS, *sorted(words))


class Tokenizer:
    """Between text and token numbers, for one vocabulary.

    Args:
        vocabulary: The tokens by number; the first are `SPECIAL`.

    Raises:
        ValueError: They are not.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        if tuple(vocabulary[: len(SPECIAL)]) != SPECIAL:
            raise ValueError(f"the vocabulary does not begin with {', '.join(SPECIAL)}")
        self.vocabulary = tuple(vocabulary)
        self._numbers = {token: number for number, token in enumerate(vocabulary)}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text: two capitals or more are spelled out, other words lowered."""
        pieces: list[str] = []
        for piece in _TOKEN.findall(text):
            spelled = len(piece) > 1 and piece.isupper()
            pieces += [*piece] if spelled else [piece.lower()]
        return [self._numbers.get(piece, UNKNOWN) for piece in pieces]

    def prompt(self, text: str) -> list[int]:
        """Return what the decoder is given before it answers."""
        return [START, *self.encode(text)[-MAX_PROMPT_TOKENS:], ANSWER]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer; more tokens only ever add to its end."""
        text, spelling, quoted = "", False, False
        for number in tokens:
            token = self.vocabulary[number]
            if number < len(SPECIAL):
                continue
            if not text and token in ("a", "an"):  # a caption's first word; lists begin with colours
                token = token.capitalize()
            is_letter = self.vocabulary[number] in LETTERS
            opens = token == '"' and not quoted
            glued = not text or (spelling and is_letter) or (token in _PUNCTUATION and not opens)
            after_opening = quoted and text.endswith('"')
            text += token if glued or after_opening else f" {token}"
            quoted = quoted != (token == '"')
            spelling = is_letter
        return text
