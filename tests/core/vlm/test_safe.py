"""Strangers' text made safe: in another renderer's eyes, nothing in it loads, runs or can be clicked."""

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.vlm.safe import csv_cell, plain, safe_markdown
from tests.support.vlm_server import HOSTILE

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TAME = frozenset(
    [
        *(
            "paragraph",
            "heading",
            "bullet_list",
            "ordered_list",
            "list_item",
            "blockquote",
            "strong",
            "em",
            "hr",
        ),
        *("table", "thead", "tbody", "tr", "th", "td", "text", "softbreak", "hardbreak", "inline"),
        *("fence", "code_block"),
    ]
)
LINK = re.compile(r"https?://|www\.|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE)
"""What GitHub's extension of Markdown, and Streamlit's renderer after it, makes a link of."""
DIRECTIVE = re.compile(r":(?:material/\w+|\w[\w+-]*|[+-]1):")
"""What Streamlit makes an icon or an emoji of, in text."""
PIECES = [
    *("![x](http://e.co/p.png)", "[x](http://e.co)", "[x]: http://e.co\n", "[x]", "[^1]", "<http://e.co>"),
    *("http://e.co", "https://e.co", "HTTPS://E.CO", "www.e.co", "WWW.e.co", "a@b.co", "a+@b.co", "-@-b.co"),
    *(
        "mailto:a@b.co",
        "javascript:alert(1)",
        "<script>x</script>",
        "<img src=x onerror=y>",
        "<!--",
        "<a href=x>",
    ),
    *(
        "&lt;b&gt;",
        "&#60;b>",
        "&colon;",
        "\\",
        "\\\\",
        "`",
        "``",
        "```",
        "````",
        "~~~",
        "~",
        "$",
        "$$",
        "\\(",
        "|",
    ),
    *(
        ":+1:",
        ":thumbs-up:",
        ":red[x]",
        ":red",
        ":material/home:",
        ":smile:",
        ":small",
        ":color[x]{foreground=red}",
        "::x",
        ":::x\n",
    ),
    *(
        "- ",
        "1. ",
        "> ",
        "# ",
        "    ",
        "\t",
        "\n",
        "\n\n",
        " ",
        "---\n",
        "|-|-|\n",
        "a",
        "*",
        "**",
        "_",
        "\u202e",
    ),
    *(
        "\r",
        "\x00",
        "\u200b",
        "\u2060",
        "\u2028",
        "html\n",
        "]",
        "[",
        "(",
        ")",
        "!",
        "<",
        ">",
        "@",
        ".",
        "co",
        ":",
        "//",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join)


def tokens_of(markdown: str) -> list[Token]:
    found: list[Token] = []
    for token in RENDERER.parse(markdown):
        found += [token, *(token.children or [])]
    return found


def shown(markdown: str) -> str:
    """Return what a reader sees, without marks nobody sees."""
    seen = [token.content if token.type != "inline" else "" for token in tokens_of(markdown)]
    return "".join(seen).replace("\u2060", "")


def kind(token: Token) -> str:
    return token.type.removesuffix("_open").removesuffix("_close")


@given(TEXTS)
@settings(max_examples=400, deadline=None)
@example("".join(HOSTILE))
@example("`\u2060`http://e.co`")
@example("- ```\n  <script>\n  ```\n")
@example("> ```\n> ![x](http://e.co)\n")
@example("``` \n```\n![x](http://e.co)")
@example("a\n\n    ![x](http://e.co)")
@example("```a`b\n<img src=x>")
@example("````\n```\n````\n<b>")
def test_nothing_is_left_that_loads_or_runs_or_is_clicked(text: str) -> None:
    for token in tokens_of(safe_markdown(text)):
        assert kind(token) in TAME, token
        if token.type == "text":
            assert not LINK.search(token.content), token
            assert not DIRECTIVE.search(token.content), token
        if token.type == "fence":
            assert not token.info


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_no_formula_and_no_directive_begins(text: str) -> None:
    for token in tokens_of(safe_markdown(text)):
        if token.type == "inline":
            bare = re.sub(r"\\.", " ", token.content)
            assert not re.search(r"[$`<\[\]~&]|:(?=\w)", bare)


@pytest.mark.parametrize("text", [piece for piece in PIECES if not set(piece) & set("\n\r\x00*_#`> \t~")])
def test_what_was_written_is_still_read(text: str) -> None:
    if text.isprintable() and text not in ("- ", "1. "):
        assert shown(safe_markdown(f"x{text}y")) == f"x{text}y"


def test_harmless_markdown_stays() -> None:
    text = "# Title\n\n1. **bold**\n2. *italics*\n\n- item\n\n> quoted\n\n"
    text += "| a | b |\n|---|:-:|\n| 1 | 2 |\n\n```py\nx = [1]\n```\n"
    kinds = {kind(token) for token in tokens_of(safe_markdown(text))}
    assert kinds >= {"heading", "ordered_list", "bullet_list", "strong", "em", "blockquote", "table", "fence"}
    fence = next(token for token in tokens_of(safe_markdown(text)) if token.type == "fence")
    assert fence.content == "x = [1]\n"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Colour:red", "Colour:red"),
        ("at 10:30", "at 10:30"),
        ("a < b && c > d", "a < b && c > d"),
        ("$5 and $6", "$5 and $6"),
        ("`code`", "`code`"),
        ("C:\\dir", "C:\\dir"),
        ("[a](b)", "[a](b)"),
        ("빨간 별 www.별.kr", "빨간 별 www.별.kr"),
    ],
)
def test_signs_are_read_as_written(text: str, read: str) -> None:
    assert shown(safe_markdown(text)) == read


@pytest.mark.parametrize("opening", ["```", "````\n```", "```py title=x", "  ```"])
def test_code_that_is_never_closed_stays_code(opening: str) -> None:
    tokens = tokens_of(safe_markdown(f"before\n{opening}\n<script>\n![x](http://e.co)"))
    fences = [token for token in tokens if token.type == "fence"]
    assert len(fences) == 1 and "<script>\n![x](http://e.co)\n" in fences[0].content


@pytest.mark.parametrize(
    "text", ["`" * 200_000, "```\n" * 50_000, "[" * 200_000, "a@" * 100_000, ":" * 200_000]
)
def test_long_text_is_made_safe(text: str) -> None:
    started = time.process_time()
    assert safe_markdown(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\x00b\x07", "a[U+0000]b[U+0007]"),
        ("\x1b[31mred", "[U+001B][31mred"),
        ("\u202egnp.exe\u202c", "[U+202E]gnp.exe[U+202C]"),
        ("\u2066x\u2069\u200e\u200f\u061c", "[U+2066]x[U+2069][U+200E][U+200F][U+061C]"),
        ("zero\u200bwidth\ufeff\u2060\xad", "zero[U+200B]width[U+FEFF][U+2060][U+00AD]"),
        ("fill\u3164er\u115f\u1160\uffa0\u034f", "fill[U+3164]er[U+115F][U+1160][U+FFA0][U+034F]"),
        ("tag\U000e0041\U000e0100", "tag[U+E0041][U+E0100]"),
        ("half\ud800", "half[U+D800]"),
        ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("می\u200cخواهم 👩\u200d🔬 ❤\ufe0f", "می\u200cخواهم 👩\u200d🔬 ❤\ufe0f"),
        ("<b>*&[x](y)", "<b>*&[x](y)"),
    ],
)
def test_what_nobody_sees_is_shown(text: str, read: str) -> None:
    assert plain(text) == read


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_plain_text_holds_nothing_that_hides_or_turns(text: str) -> None:
    made = plain(text)
    assert plain(made) == made
    made.encode()
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in made)
    assert not any(
        unicodedata.bidirectional(c) in {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI"} for c in made
    )
    if text.isascii() and text.isprintable():
        assert made == text


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_cell_is_no_formula(sign: str) -> None:
    assert csv_cell(f"{sign}1+1") == f"'{sign}1+1"
    assert csv_cell(sign) == f"'{sign}"
    assert csv_cell(f"1{sign}1") == f"1{sign}1"


@pytest.mark.parametrize("value", ["", "red", "'=1", 1, -1, 1.5, None, True, "1-2", "별"])
def test_other_cells_stay(value: object) -> None:
    assert csv_cell(value) is value


@given(st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_cell_keeps_its_text(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str) and cell.removeprefix("'") == text.removeprefix("'")
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
