"""The report as one HTML file that fetches nothing: its charts answer to the pointer, its tables sort.

Everything in it is escaped, charts get their numbers from blocks of JSON, and a content security policy
lets run exactly the two scripts that are in the file: Plotly, once, and the page's own.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from core.charts.report import report_figure
from core.report.document import (
    Block,
    Cell,
    Chart,
    Code,
    Column,
    Document,
    Exchange,
    Facts,
    Section,
    Table,
    Text,
)
from core.report.faces import embedded
from core.report.thumbnails import picture_kind

ASSETS = Path(__file__).with_name("assets")


def to_html(document: Document) -> bytes:
    """Return a report as the bytes of an HTML file, in UTF-8."""
    plotly, own = _plotly(), _asset("report.js")
    title, made = escape(document.title), escape(document.made)
    charts: list[str] = []
    parts = [_section(section, charts) for section in document.sections]
    contents = "".join(
        f'<li><a href="#{escape(section.key)}">{escape(section.title)}</a></li>'
        for section in document.sections
    )
    faces = embedded("".join([*parts, _facts(document.facts)]))
    head = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(plotly, own)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="Vision Bench"><meta name="date" content="{made}">',
        f"<title>{title}</title><style>{_asset('report.css')}{faces}</style></head><body><main>",
        f"<header><h1>{title}</h1>{_facts(document.facts)}</header>",
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{contents}</ol></nav>',
    ]
    scripts = f"<script>{plotly}</script><script>{own}</script>" if charts else f"<script>{own}</script>"
    return "".join([*head, *parts, "</main>", *charts, scripts, "</body></html>"]).encode()


def _policy(*scripts: str) -> str:
    """Return what the browser may do: run these scripts, and draw."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=4)
def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")  # as the browser hashes it
    return script.replace("</script", "<\\/script")


@lru_cache(maxsize=4)
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _section(section: Section, charts: list[str]) -> str:
    blocks = "".join(_block(block, charts) for block in section.blocks)
    return f'<section id="{escape(section.key)}"><h2>{escape(section.title)}</h2>{blocks}</section>'


def _block(block: Block, charts: list[str]) -> str:
    if isinstance(block, Text):
        return f'<p class="{block.role}" dir="auto">{escape(block.text)}</p>'
    if isinstance(block, Facts):
        return _facts(block)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Chart):
        return _chart(block, charts)
    if isinstance(block, Code):
        return f"<pre>{escape(block.text)}</pre>"
    return _exchange(block)


def _facts(facts: Facts) -> str:
    pairs = (f'<dt>{escape(key)}</dt><dd dir="auto">{escape(value)}</dd>' for key, value in facts.pairs)
    return f"<dl>{''.join(pairs)}</dl>"


def _table(table: Table) -> str:
    titles = "".join(f'<th scope="col" class="{c.align}">{escape(c.title)}</th>' for c in table.columns)
    rows = "".join(_row(row, table.columns) for row in table.rows)
    caption = f'<p class="note">{escape(table.caption)}</p>' if table.caption else ""
    head = f"<thead><tr>{titles}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>{caption}'


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    cells = (
        f'<td class="{column.align}{" grey" if cell.grey else ""}"><bdi>{escape(cell.text)}</bdi></td>'
        for cell, column in zip(row, columns, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _chart(chart: Chart, charts: list[str]) -> str:
    figure = report_figure(chart.info)
    key = f"chart-{len(charts)}"
    data = json.dumps(json.loads(figure.to_json()), separators=(",", ":"))
    for letter in "<>&":  # nothing in it ends the block
        data = data.replace(letter, f"\\u{ord(letter):04x}")
    charts.append(f'<script type="application/json" data-chart="{key}">{data}</script>')
    place = f'<div id="{key}" class="chart" role="img" aria-label="{escape(chart.alt)}"></div>'
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{place}</figure>"


def _exchange(exchange: Exchange) -> str:
    picture, kind = exchange.thumbnail or b"", picture_kind(exchange.thumbnail)
    data = base64.b64encode(picture).decode()
    shown = f'<img src="data:image/{kind};base64,{data}" alt="the picture">' if kind else ""
    answer = (
        f'<p class="answer{" failed" if exchange.failed else ""}" dir="auto">{escape(exchange.answer)}</p>'
    )
    return (
        f'<article><p class="note"><bdi>{escape(exchange.head)}</bdi></p>{shown}'
        f'<div><p class="question" dir="auto">{escape(exchange.question)}</p>{answer}</div>'
        f'<p class="note"><bdi>{escape(exchange.foot)}</bdi></p></article>'
    )
