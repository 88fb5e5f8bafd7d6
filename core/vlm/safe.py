"""What models and other strangers wrote, made safe to show and to export."""

import re

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
"""Control characters, marks that turn the direction of text, and characters that nobody sees.

The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji are written with them.
"""
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029|\x85")
_FENCE = re.compile(r"^ {0,3}(`{3,})[ \t]*([\w+-]{0,20})[^`\n]*$")
_SPECIAL = re.compile(r"([\\`<\[\]&$~]|:(?=\w))")
_LINK_STARTS = re.compile(
    r"(?=://)|(?<=www)(?=\.)|(?<=@)(?=[\w-])|(?<=:)(?=(?:\w[\w+-]*|[+-]1)\\?[:/])", re.IGNORECASE
)
_JOINER = "\u2060"
"""Nobody sees it, and no address or directive is recognised across it."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def plain(text: str) -> str:
    """Return a text with one kind of line end, and what cannot be seen or turns text around as `[U+202E]`."""
    return _INVISIBLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", _LINE_ENDS.sub("\n", text))


def unlinked(text: str) -> str:
    """Return a text whose addresses no renderer turns into links: an unseen character stands in them."""
    return _LINK_STARTS.sub(_JOINER, text)


def safe_markdown(text: str) -> str:
    """Return Markdown with nothing in it that loads, runs, or can be clicked.

    Headings, lists, tables, bold, italics and fenced code stay. HTML, formulas and inline code are shown as
    they were written; so are links and pictures, with their target; addresses are no links; Streamlit's own
    directives (colours, icons) are text.
    """
    out: list[str] = []
    code: list[str] = []
    fence = ""
    for line in plain(text).split("\n"):
        found = _FENCE.match(line)
        if fence:
            if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}[ \t]*", line):
                out += _fenced(code)
                code, fence = [], ""
            else:
                code.append(line)
        elif found:
            fence = found[1]
        else:
            out.append(unlinked(_SPECIAL.sub(r"\\\1", line)))
    return "\n".join(out + (_fenced(code) if fence else []))


def _fenced(code: list[str]) -> list[str]:
    """Return lines of code in a fence longer than any run of backticks in it."""
    longest = max((len(run) for line in code for run in re.findall("`+", line)), default=0)
    marks = "`" * max(3, longest + 1)
    return ["", marks, *code, marks, ""]


def csv_cell(value: object) -> object:
    """Return a value for a cell: text that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
