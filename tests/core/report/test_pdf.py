"""The PDF read back: its words in every script, fonts, page numbers, contents, bookmarks, links."""

import io
import re

import pypdf
import pypdfium2
import pytest
from PIL import Image

from core.report.document import Cell, Code, Column, Document, Exchange, Facts, Section, Table, Text
from core.report.fonts import han_family
from core.report.pdf import breakable, to_pdf
from db import Store
from tests.core.report.conftest import Reported
from tests.support.report_runs import seed

SCRIPTS = {
    "Korean": "사진에 고양이가 몇 마리 있나요?",
    "Chinese": "图片里有什么？",
    "Japanese": "写真に何が写っていますか？",
    "Thai": "ในภาพมีแมวกี่ตัว",
    "Greek and Cyrillic": "Ελληνικά Русский",
    "Hebrew": "שלום",
}
HOSTILE = "#panic() $x$ *bold* @ref <label> `code` \\ // [a] = + - <script>alert(1)</script>"


def picture(size: tuple[int, int] = (32, 24)) -> bytes:
    """Return a small picture file."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def document(*blocks: object, title: str = "Part") -> Document:
    """Return a document of one section."""
    section = Section("part", title, blocks)  # type: ignore[arg-type]
    return Document("Report", Facts([("Made", "now")]), [section], "2026-11-26T21:00:00+09:00")


def words(data: bytes) -> str:
    """Return the text of all pages, as PDFium reads it."""
    with pypdfium2.PdfDocument(data) as opened:
        found = [page.get_textpage().get_text_bounded() for page in opened]
        opened.close()
    return "\n".join(found).replace("\u200b", "").replace("\r\n", "\n")


@pytest.fixture(scope="module")
def scripts() -> bytes:
    """A PDF of questions in many scripts, with boxes for what no typeface has."""
    exchanges = [Exchange(name, text, text, False, picture(), "run 1") for name, text in SCRIPTS.items()]
    rare = Text("हिन्दी क्षत्रिय मرحبا كم قطة 😀👩‍👩‍👧 𓀀 བོད \ue000 ∑ √")
    return to_pdf(document(*exchanges, rare, Text(HOSTILE), Code(HOSTILE)))


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_of_every_script_are_words(scripts: bytes, script: str) -> None:
    assert SCRIPTS[script] in words(scripts)


def test_nothing_in_a_text_is_obeyed(scripts: bytes) -> None:
    assert HOSTILE in words(scripts)


def test_every_font_is_embedded_as_a_subset(scripts: bytes) -> None:
    found = {}
    for page in pypdf.PdfReader(io.BytesIO(scripts)).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            described = font.get_object()["/DescendantFonts"][0].get_object()
            descriptor = described["/FontDescriptor"].get_object()
            found[described["/BaseFont"]] = {"/FontFile2", "/FontFile3"} & set(descriptor)
    assert any("CJK" in name for name in found)
    assert any("Arabic" in name for name in found)
    assert all(files for files in found.values())
    assert all(re.match(r"/[A-Z]{6}\+", name) for name in found)
    assert len(scripts) < 400_000


@pytest.fixture(scope="module")
def long() -> bytes:
    """A PDF of three sections over many pages."""
    columns = (Column("Model", width=3), Column("n", "right"))
    table = Table(columns, [[Cell(f"model {i}"), Cell(str(i), grey=i < 5)] for i in range(90)], "All.")
    parts = [Section(f"s{i}", f"Section {i}", (Text("Begins."), table)) for i in range(3)]
    return to_pdf(Document("Long report", Facts([("Made", "now")]), parts, "2026-11-26T21:00:00+09:00"))


def test_contents_bookmarks_and_page_numbers_are_right(long: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(long))
    pages = [page.extract_text() for page in reader.pages]
    assert len(pages) > 3
    for i, text in enumerate(pages):
        assert f"page {i + 1} of {len(pages)}" in text
    marks = {mark.title: reader.get_destination_page_number(mark) for mark in reader.outline}  # type: ignore[union-attr,arg-type]
    for i in range(3):
        begins = marks[f"Section {i}"]
        assert re.search(rf"Section {i}\s+Begins", pages[begins])
        assert re.search(rf"Section {i}[ .\n]*{begins + 1}\b", pages[0])
    links = [a.get_object() for a in reader.pages[0].get("/Annots", [])]
    assert sum(link["/Subtype"] == "/Link" for link in links) >= 3


def test_the_head_of_a_table_is_on_every_page(long: bytes) -> None:
    for page in pypdf.PdfReader(io.BytesIO(long)).pages[1:]:
        assert re.search(r"Model\s+n\b", page.extract_text())


def test_metadata(long: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(long))
    assert reader.metadata is not None
    assert reader.metadata.title == "Long report"
    assert reader.metadata.author == "Vision Bench"
    assert reader.metadata.creation_date is not None
    assert reader.metadata.creation_date.isoformat() == "2026-11-26T12:00:00+00:00"
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]  # tagged, for screen readers


def test_chinese_characters_look_as_in_their_language() -> None:
    families = [han_family(text) for text in ("骨 뼈", "骨は", "骨头", "뼈", "bone")]
    assert families == ["Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "", ""]


def test_a_damaged_thumbnail_is_left_out() -> None:
    broken = [b"", b"thumbnail of x", picture()[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 40]
    exchanges = [Exchange("m", "q", f"answer {i}", False, data) for i, data in enumerate(broken)]
    assert "answer 3" in words(to_pdf(document(*exchanges)))


def test_long_words_are_broken_and_stay_on_the_page() -> None:
    token = "a/very-long_model.name:" * 12
    columns = (Column("Model", width=1), Column("Other", width=1))
    data = to_pdf(
        document(Table(columns, [[Cell("x" * 500), Cell(token)]]), Text("y" * 2000), Code("z" * 900))
    )
    with pypdfium2.PdfDocument(data) as opened:
        for page in opened:
            text = page.get_textpage()
            for i in range(0, text.count_chars(), 7):
                assert text.get_charbox(i)[2] <= page.get_width()
    assert "".join(words(data).split()).count("x") >= 500
    assert breakable("short words stay") == "short words stay"


def test_a_report_of_one_run_and_of_many(store: Store, report: Reported) -> None:
    assert "Nothing was measured" in words(to_pdf(report()))
    seed(store, 1)
    assert "page 1 of" in words(to_pdf(report()))


def test_a_report_of_real_runs_has_its_numbers(store: Store, report: Reported) -> None:
    seed(store, 400)
    text = words(to_pdf(report()))
    for wanted in (
        "401 runs",
        "사진에 고양이가",
        "OutOfMemoryError",
        "What can be told",
        "Wilson",
        "git checkout",
    ):
        assert wanted in text
