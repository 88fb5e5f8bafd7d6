"""Where two answers differ, word by word."""

import re
from typing import Literal, NamedTuple

MOST_WORDS = 5_000
"""Words of each text that are compared one by one; what follows them is compared as a whole."""

Kind = Literal["same", "first", "second"]


class Piece(NamedTuple):
    """Words that both texts share, or that only one of them has."""

    text: str
    """With the white space around it that keeps pieces apart; for shared words, as in the first text."""
    kind: Kind


def difference(first: str, second: str) -> tuple[Piece, ...]:
    """Return both texts as one row of pieces, with as many words shared as there can be.

    The pieces that are not `second` make up the first text exactly, those that are not `first` the words of
    the second. A word ends at white space: a comma belongs to the word before it.
    """
    from rapidfuzz.distance import LCSseq

    one, two = _words(first), _words(second)
    pieces: list[Piece] = []
    at = past = 0
    for block in LCSseq.editops([w.strip() for w in one], [w.strip() for w in two]).as_matching_blocks():
        pieces.append(Piece("".join(one[at : block.a]), "first"))
        more = "".join(two[past : block.b])
        if more and at and not one[at - 1][-1].isspace():
            # The first text ends here with a shared word; the second goes on after white space of its own.
            more = two[past - 1].removeprefix(two[past - 1].rstrip()) + more
        pieces.append(Piece(more, "second"))
        at, past = block.a + block.size, block.b + block.size
        pieces.append(Piece("".join(one[block.a : at]), "same"))
    return tuple(piece for piece in pieces if piece.text)


def _words(text: str) -> list[str]:
    """Return the words with the white space after them; the last one holds everything past the limit."""
    words = re.findall(r"\S+\s*|^\s+", text)
    return [*words[:MOST_WORDS], "".join(words[MOST_WORDS:])] if len(words) > MOST_WORDS else words
