"""Words of prompts, answers and notes, so that runs are found by them: the same on both databases.

A text is cut into words here, not by the database: letters and digits, without case, width and accents. In
scripts that are written without spaces, or that attach endings to words, each pair of neighbouring characters
is a word as well as each character, so any part of a text can be searched for. What is kept and asked for is
nothing but words, so no text is an operator.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    column,
    delete,
    false,
    literal,
    select,
    table,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from db.models import Artifact, Run, RunArtifact

SEARCHED = "text/plain"
"""Media type of the files in which runs are looked for."""
MOST_CHARACTERS = 20_000
"""Of one run that are looked through."""
MOST_WORDS = 2_000
MOST_ASKED = 20
LONGEST = 60
"""Characters of a word; a longer one is cut."""
MOST_ENDINGS = 30
SHORTEST_BEGINNING = 3
"""Characters from which on a word that is searched for may be the beginning of one."""

PARTS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u3130-\u318f"
    "\u31a0-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
"""Runs of Thai, Lao, Burmese, Khmer, Chinese, Japanese and Korean characters."""
WORD = re.compile(r"[^\W_]+")

RUN_WORDS = table("run_words", column("seq"), column("words"))
"""Of PostgreSQL, `words` is a tsvector; of SQLite, it is an FTS5 table whose rowid is the run's `seq`."""


def plain(said: str) -> str:
    """Return a text without case, width and accents; characters of other kinds stay as they are."""
    decomposed = unicodedata.normalize("NFKD", said[:MOST_CHARACTERS].casefold())
    without = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFKC", without)


def words_of(said: str) -> list[str]:
    """Return the different words of a text, in order of their first place."""
    found: dict[str, None] = {}
    for i, part in enumerate(PARTS.split(plain(said))):
        if i % 2:
            found |= dict.fromkeys(part)
            found |= dict.fromkeys(part[j : j + 2] for j in range(len(part) - 1))
        else:
            found |= dict.fromkeys(word[:LONGEST] for word in WORD.findall(part))
        if len(found) > MOST_WORDS:
            break
    return list(found)[:MOST_WORDS]


def asked(query: str) -> list[tuple[str, bool]]:
    """Return the words to search for, each with whether it may be the beginning of one."""
    found: dict[str, bool] = {}
    for i, part in enumerate(PARTS.split(plain(query))):
        if i % 2 == 0:
            for word in WORD.findall(part):
                found[word[:LONGEST]] = len(word) >= SHORTEST_BEGINNING
        elif len(part) == 1:
            found[part] = False
        else:
            found |= dict.fromkeys((part[j : j + 2] for j in range(len(part) - 1)), False)
    return list(found.items())[:MOST_ASKED]


def said_by(parameters: Mapping[str, Any], note: str, answers: Iterable[bytes]) -> str:
    """Return all that a run can be found by: its prompt, what was answered, and its note."""
    prompt = parameters.get("prompt")
    texts = [prompt if isinstance(prompt, str) else "", note]
    return "\n".join([*texts, *(data[: 4 * MOST_CHARACTERS].decode(errors="replace") for data in answers)])


def index(connection: Connection, run_id: str, said: str) -> None:
    """Keep the words of a run that has none yet."""
    if words := words_of(said):
        connection.execute(
            INSERT[connection.dialect.name], {"run_id": run_id, "words": _kept(connection, words)}
        )


def _kept(connection: Connection, words: list[str]) -> Any:
    return words if connection.dialect.name == "postgresql" else " ".join(words)


TERMS = text(
    f"SELECT term FROM run_words_terms WHERE term >= :first AND term < :last LIMIT {MOST_ENDINGS + 1}"
)
INSERT = {
    "sqlite": text("INSERT INTO run_words (rowid, words) SELECT seq, :words FROM run WHERE id = :run_id"),
    "postgresql": text(
        "INSERT INTO run_words (run_id, seq, words)"
        " SELECT id, seq, array_to_tsvector(CAST(:words AS text[])) FROM run WHERE id = :run_id"
    ),
}


def reindex(connection: Connection, run_id: str) -> None:
    """Find a run by what it says now."""
    seq, parameters, note = connection.execute(
        select(Run.seq, Run.parameters, Run.note).where(Run.id == run_id)
    ).one()
    answers = connection.scalars(
        select(Artifact.data)
        .join(RunArtifact, RunArtifact.sha256 == Artifact.sha256)
        .where(RunArtifact.run_id == run_id, RunArtifact.media_type == SEARCHED)
        .order_by(RunArtifact.name)
    ).all()
    key = RUN_WORDS.c.seq if connection.dialect.name == "postgresql" else column("rowid")
    connection.execute(delete(RUN_WORDS).where(key == seq))
    index(connection, run_id, said_by(parameters, note, answers))


Endings = Mapping[str, Sequence[str]]
"""Of the beginnings of words, all words that begin so."""


def endings(connection: Connection, query: str) -> Endings:
    """Return the words that a query may mean, where they are few.

    FTS5 gathers all runs of all words that begin alike before it gives the first one; with the words
    themselves it goes through no more runs than are taken. PostgreSQL does not mind.
    """
    found: dict[str, Sequence[str]] = {}
    if connection.dialect.name == "sqlite":
        for word, begins in asked(query):
            if begins:
                terms = connection.execute(TERMS, {"first": word, "last": f"{word}{chr(sys.maxunicode)}"})
                found[word] = terms.scalars().all()
    return {word: terms for word, terms in found.items() if 0 < len(terms) <= MOST_ENDINGS}


def found_in(query: str, known: Endings | None = None) -> tuple[ColumnElement[bool], ColumnElement[int]]:
    """Return the condition on `RUN_WORDS` that all words of a query are there, and its `Run.seq`.

    Args:
        known: `endings` of the query, which make it quicker.
    """
    words = asked(query)
    if not words:
        return false(), _Seq()
    fts = " AND ".join(_fts(word, begins, known or {}) for word, begins in words)
    tsquery = " & ".join(f"'{word}'{':*' if begins else ''}" for word, begins in words)
    return _Match(literal(fts), literal(tsquery)), _Seq()


def _fts(word: str, begins: bool, known: Endings) -> str:
    if begins and word in known:
        return "(" + " OR ".join(f'"{term}"' for term in known[word]) + ")"
    return f'"{word}"{"*" if begins else ""}'


class _Seq(FunctionElement[int]):
    """The run that a row of `RUN_WORDS` is of."""

    type = BigInteger()
    inherit_cache = True


class _Match(FunctionElement[Any]):
    """Whether a row of `RUN_WORDS` has the words of a query: as FTS5 puts it, and as PostgreSQL does."""

    type = NullType()  # as a Boolean it would be compared with 1, which FTS5 does not take
    inherit_cache = True


@compiles(_Seq, "sqlite")
def _(element: _Seq, compiler: SQLCompiler, **_how: Any) -> str:
    return "run_words.rowid"


@compiles(_Seq, "postgresql")
def _(element: _Seq, compiler: SQLCompiler, **_how: Any) -> str:
    return "run_words.seq"


@compiles(_Match, "sqlite")
def _(element: _Match, compiler: SQLCompiler, **how: Any) -> str:
    return f"run_words MATCH {compiler.process(next(iter(element.clauses)), **how)}"


@compiles(_Match, "postgresql")
def _(element: _Match, compiler: SQLCompiler, **how: Any) -> str:
    return f"run_words.words @@ CAST({compiler.process(list(element.clauses)[1], **how)} AS tsquery)"
