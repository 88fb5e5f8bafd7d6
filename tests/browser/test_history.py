"""The history as a person uses it: a click on a chart, rows chosen and compared, deleted and brought back."""

import csv
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from core.environment import describe_environment
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunInput
from core.samples import load_sample
from db import Store
from tests.support.browser import App, settled

PATIENCE_MS = 120_000
NASTY = "<img src=x onerror=document.title='hit'>"


@pytest.fixture(scope="module", autouse=True)
def runs(app: App) -> Iterator[list[str]]:
    """Return the ids of four runs of two models, each on a picture of its own."""
    with Store.open(app.database_url) as store:
        yield [
            store.record(
                RunDraft(
                    kind="attention",
                    model_id=model,
                    model_revision="r1",
                    environment=describe_environment("cpu", "float32"),
                    owner=LOCAL_OWNER,
                    duration_ms=ms,
                    parameters={"layer": layer},
                    inputs=[RunInput("picture", load_sample(sample))],
                    metrics=[Metric("model_ms", ms, "ms")],
                    note=NASTY,
                    tags=[NASTY],
                )
            )
            for model, ms, layer, sample in (
                ("a/fast", 10.0, 1, "coffee"),
                ("a/fast", 14.0, 2, "chelsea"),
                ("b/slow", 900.0, 1, "coffee"),
                (NASTY, 50.0, 1, "coffee"),
            )
        ]


def opened(page: Page, app: App, address: str = "") -> None:
    page.goto(f"{app.url}/history{address}", timeout=PATIENCE_MS)
    expect(page.get_by_role("region", name="List of runs")).to_be_visible(timeout=PATIENCE_MS)
    settled(page)


def choose(page: Page, *rows: int) -> None:
    """Click the boxes in front of rows; the table is one canvas under a transparent scroller."""
    grid = page.get_by_role("region", name="List of runs")
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box
    for row in rows:
        page.mouse.click(box["x"] + 18, box["y"] + 58 + 44 * row)


def test_a_clicked_point_lists_its_runs_and_its_address_works_elsewhere(
    app: App, page: Page, browser: Browser
) -> None:
    opened(page, app, "?model=a/fast")
    point = page.locator(".js-plotly-plot .scatterlayer .points path").first
    expect(point).to_be_visible(timeout=PATIENCE_MS)
    box = point.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    behind = "2 runs behind the clicked point"
    expect(page.get_by_text(behind)).to_be_visible(timeout=PATIENCE_MS)
    assert "at_model=a%2Ffast" in page.url
    other = browser.new_page()
    opened(other, app, page.url.partition("/history")[2])
    expect(other.get_by_text(behind)).to_be_visible(timeout=PATIENCE_MS)
    other.close()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_text(behind)).to_have_count(0, timeout=PATIENCE_MS)
    page.go_back()
    expect(page.get_by_text(behind)).to_be_visible(timeout=PATIENCE_MS)


def test_runs_are_compared_deleted_and_brought_back(app: App, page: Page, runs: list[str]) -> None:
    opened(page, app, "?model=a/fast")
    choose(page, 0, 1)
    page.get_by_role("button", name="Compare 2").click()
    expect(page.get_by_text("2 runs compared")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("chelsea", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    assert page.url.count("compare=") == 2
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_text("2 runs compared")).to_have_count(0, timeout=PATIENCE_MS)
    settled(page)
    page.get_by_role("button", name=re.compile("Delete$")).first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Delete$")).click()
    expect(page.get_by_text("No run fits these filters")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Recently deleted").click()
    expect(page.get_by_role("region", name="List of runs")).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    choose(page, 0, 1)
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("No deleted run fits")).to_be_visible(timeout=PATIENCE_MS)
    with Store.open(app.database_url) as store:
        assert {store.run(run_id, LOCAL_OWNER).id for run_id in runs[:2]} == set(runs[:2])


def test_each_chart_is_drawn_and_what_strangers_wrote_runs_nowhere(
    app: App, page: Page, runs: list[str]
) -> None:
    opened(page, app, f"?run={runs[3]}")
    expect(page.get_by_role("heading", name=f"Run {runs[3]}")).to_be_visible(timeout=PATIENCE_MS)
    for chart in ("Distribution", "Reliability", "Calendar"):
        page.get_by_role("radio", name=chart).click()
        expect(page.get_by_role("figure", name=chart)).to_be_visible(timeout=PATIENCE_MS)
        settled(page)
    assert page.locator("img[src='x']").count() == 0
    assert page.title() != "hit"


def test_the_export_is_what_is_filtered(app: App, page: Page) -> None:
    opened(page, app, "?model=b/slow")
    page.get_by_role("button", name="Export").click()
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="Download").last.click()
    with download.value.path().open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["model_id"], row["model_ms (ms)"], download.value.suggested_filename) == (
        "b/slow",
        "900.0",
        "runs.csv",
    )
