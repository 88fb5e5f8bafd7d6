"""The HTML file: safe by its own policy, whole in one file, the same numbers as the document."""

import base64
import hashlib
import html
import io
import json
import re

from fontTools.ttLib import TTFont

from core.report.document import Chart, Table
from core.report.html import to_html
from db import Store
from tests.core.report.conftest import Reported
from tests.support.report_runs import seed
from tests.support.runs import draft, text_file

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def test_only_the_two_scripts_of_the_file_may_run(store: Store, report: Reported) -> None:
    seed(store, 60)
    text = to_html(report()).decode()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])  # type: ignore[index]
    scripts = SCRIPT.findall(text)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert text.count("plotly.js v") <= 2  # once, with its banner


def test_strangers_words_are_words(store: Store, report: Reported) -> None:
    store.record(
        draft(
            kind="vlm",
            model_id=EVIL,
            parameters={"task": EVIL, "prompt": EVIL, "references": [EVIL]},
            artifacts=[text_file("answer.txt", EVIL)],
        )
    )
    store.record(draft(kind=EVIL, model_id=EVIL, status="failed", error_class=EVIL, error_message=EVIL))
    text = to_html(report()).decode()
    without = SCRIPT.sub("", text)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert html.escape(EVIL) in without
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert blocks
    for block in blocks:
        assert json.loads(block)["data"]
        assert "<" not in block


def test_the_file_refers_to_nothing_outside(store: Store, report: Reported) -> None:
    seed(store, 60)
    text = SCRIPT.sub("", to_html(report()).decode())
    text = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "@import" not in text
    assert set(re.findall(r"url\((.{5})", text)) <= {"data:"}


def test_letters_of_other_scripts_are_in_the_file(store: Store, report: Reported) -> None:
    prompt = "사진 写真 हिन्दी ภาพ صورة 🐈"
    store.record(draft(kind="vlm", parameters={"task": "free", "prompt": prompt}))
    text = to_html(report()).decode()
    faces = dict(re.findall(r'font-family:"([^"]+)";[^}]*base64,([^)]+)\)', text))
    assert "Noto Sans CJK KR" in faces
    seen: set[int] = set()
    for data in faces.values():
        font = TTFont(io.BytesIO(base64.b64decode(data)))
        assert font.flavor == "woff"
        seen |= set(font.getBestCmap())
    assert {ord(letter) for letter in prompt if letter != " "} <= seen
    assert sum(map(len, faces.values())) < 100_000


def test_every_block_is_in_it(store: Store, report: Reported) -> None:
    seed(store, 200)
    document = report()
    text = to_html(document).decode()
    blocks = [block for section in document.sections for block in section.blocks]
    assert text.count("<table>") == sum(isinstance(block, Table) for block in blocks)
    assert text.count('class="chart"') == sum(isinstance(block, Chart) for block in blocks)
    for section in document.sections:
        assert f'<section id="{section.key}">' in text
        assert f'<a href="#{section.key}">' in text


def test_a_report_of_nothing_needs_no_plotly(report: Reported) -> None:
    data = to_html(report())
    assert len(data) < 30_000
    assert b"Nothing was measured" in data
