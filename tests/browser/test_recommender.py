"""The recommender as a person uses it: it answers at once, a symbol is clicked, a limit is relaxed."""

import pytest
from playwright.sync_api import Locator, Page, expect

from db import Store
from tests.support.browser import App, choose
from tests.support.recommend_runs import calibrate_store

PATIENCE_MS = 180_000
PAGE = "model_recommender"


def chart(page: Page) -> Locator:
    return page.get_by_test_id("stPlotlyChart")


@pytest.mark.browser
def test_it_answers_and_follows_what_is_clicked(page: Page, app: App) -> None:
    with Store.open(app.database_url) as store:
        calibrate_store(store)
    page.goto(f"{app.url}/{PAGE}", timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="Accuracy and speed")).to_be_visible(timeout=PATIENCE_MS)
    expect(chart(page).locator(".main-svg").first).to_be_visible(timeout=PATIENCE_MS)
    chart(page).locator(".scatterlayer .point").last.click(force=True)
    expect(page.get_by_role("button", name="Close")).to_be_visible(timeout=PATIENCE_MS)
    assert "model=" in page.url
    choose(page, "Task", "Object detection")
    expect(page.get_by_text("COCO").first).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_url("**task=detection**", timeout=PATIENCE_MS)
    assert "model=" not in page.url


@pytest.mark.browser
def test_the_nearest_miss_is_one_click_away_and_it_fits_a_telephone(page: Page, app: App) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{app.url}/{PAGE}?speed=ms&ms=0.5&least=89", timeout=PATIENCE_MS)
    expect(page.get_by_text("None of the")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("None of the")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="Only this one fits")).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
