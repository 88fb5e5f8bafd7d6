"""`report` on the command line: files, errors with remedies, this machine's own runs only."""

import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pypdf
import pytest

from core.cli import USAGE, main
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import Store
from tests.support.runs import draft


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the one JSON object of a command."""
    code = main(["report", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_pdf_and_an_html_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Store.open(settings().database_url) as store:
        store.record(draft(owner=LOCAL_OWNER, model_id="vit_mine"))
        store.record(draft(owner="visitor", model_id="vit_theirs"))
    pdf, html = tmp_path / "new" / "report.pdf", tmp_path / "report.html"
    code, answer = run(capsys, "--out", str(pdf), "--zone", "Asia/Seoul")
    assert (code, answer["runs"], answer["bytes"]) == (0, 1, pdf.stat().st_size)
    words = "".join(page.extract_text() for page in pypdf.PdfReader(pdf).pages)
    assert "vit_mine" in words
    assert "vit_theirs" not in words
    code, answer = run(capsys, "--out", str(html), "--sections", "runs,times", "--from", "2020-01-01")
    assert answer["sections"] == ["runs", "times"]
    assert b"vit_mine" in html.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_nothing_matches_and_the_file_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code, answer = run(capsys, "--out", str(out), "--to", "2020-01-01", "--zone", "UTC")
    assert (code, answer["runs"]) == (0, 0)
    assert "Nothing was measured" in out.read_text()


def test_the_command_in_a_report_makes_it_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Store.open(settings().database_url) as store:
        for tags, ms in ((["good ones"], 10.0), (["good ones"], 90.0), (["bad"], 10.0)):
            store.record(draft(owner=LOCAL_OWNER, tags=tags, duration_ms=ms, note="a zebra's"))
        store.record(draft(owner=LOCAL_OWNER, tags=["good ones"], note="a horse"))
    out = tmp_path / "report.html"
    given = ["--tags", "good ones", "--words", "zebra's", "--min-ms", "5", "--max-ms", "50.5"]
    given += ["--statuses", "ok", "--devices", "cpu", "--without-test-server", "--zone", "UTC"]
    code, answer = run(capsys, "--out", str(out), *given)
    assert (code, answer["runs"]) == (0, 1)
    (command,) = re.findall(r"python -m core report .*", unescape(out.read_text()))
    words = shlex.split(command.partition("<")[0])[4:]
    assert words[words.index("--words") + 1] == "zebra's"
    code, answer = run(capsys, *words[: words.index("--out")], "--out", str(tmp_path / "again.pdf"))
    assert (code, answer["runs"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "report.docx"], "neither a .pdf nor a .html"),
        (["--out", "r.pdf", "--from", "2026-13-01"], "no day or time"),
        (["--out", "r.pdf", "--to", "yesterday"], "no day or time"),
        (["--out", "r.pdf", "--from", "2026-02-01", "--to", "2026-01-01"], "ends before it begins"),
        (["--out", "r.pdf", "--sections", "all"], "no section 'all'"),
        (["--out", "r.pdf", "--zone", "Mars/Olympus"], "no time zone"),
        (["--out", "r.pdf", "--statuses", "ok,well"], "no status 'well'"),
        (["--out", "/proc/none/r.html"], "cannot be written"),
    ],
)
def test_errors_say_what_to_do(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    code, answer = run(capsys, *arguments)
    assert code == USAGE
    assert words in answer["error"]["message"]
    assert answer["error"]["remedy"]
