"""A report made as a person does it, and its HTML file opened by itself without a network."""

from pathlib import Path

import pypdf
import pytest
from playwright.sync_api import Page, expect

from core.runs import LOCAL_OWNER
from db import Store
from tests.support.browser import App
from tests.support.report_runs import seed

PATIENCE_MS = 120_000


@pytest.mark.browser
def test_a_report_is_made_downloaded_and_opened_offline(page: Page, app: App, tmp_path: Path) -> None:
    with Store.open(app.database_url) as store:
        seed(store, 90, owner=LOCAL_OWNER)
    view = "kind=vlm&period=dates&first=2026-01-01&last=2026-12-31"
    page.goto(f"{app.url}/history?{view}", timeout=PATIENCE_MS)
    page.get_by_role("link", name="Make a report").click(timeout=PATIENCE_MS)
    expect(page.get_by_text("30 runs")).to_be_visible(timeout=PATIENCE_MS)
    page.goto(f"{app.url}/report", timeout=PATIENCE_MS)
    expect(page.get_by_text("91 runs")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Make the report").click()
    with page.expect_download(timeout=PATIENCE_MS) as pdf:
        page.get_by_role("button", name="Download PDF").click(timeout=PATIENCE_MS)
    pdf.value.save_as(tmp_path / "report.pdf")
    assert "91 runs" in pypdf.PdfReader(tmp_path / "report.pdf").pages[0].extract_text()

    page.goto(f"{app.url}/report?report_form=HTML", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Make the report").click(timeout=PATIENCE_MS)
    with page.expect_download(timeout=PATIENCE_MS) as html:
        page.get_by_role("button", name="Download HTML").click(timeout=PATIENCE_MS)
    html.value.save_as(tmp_path / "report.html")

    refused: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.context.set_offline(True)
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.locator(".chart .main-svg").first).to_be_visible()
    assert refused == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.get_by_role("link", name="What it cost").click()
    expect(page.get_by_role("heading", name="What it cost")).to_be_in_viewport()
    head = page.locator("#runs th", has_text="Runs")
    head.click()
    runs = [int(text) for text in page.locator("#runs td:nth-child(3)").all_inner_texts()]
    assert runs == sorted(runs)
    assert page.evaluate("window.hacked") is None
