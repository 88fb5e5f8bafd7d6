"""A comparison made as a person does it: begun by the button, left, found again, opened by its address."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.results import KIND
from db import RunFilter, Store
from tests.support.bench_runs import bench_run, numbers_of
from tests.support.browser import App

PATIENCE_MS = 180_000
PAGE = "model_benchmark"


def only(page: Page, name: str) -> None:
    """Leave one model in the field."""
    field = page.get_by_test_id("stMultiSelect")
    field.get_by_role("button", name="Clear all").click()
    box = field.get_by_role("combobox")
    box.fill(name)
    box.press("Enter")
    box.press("Escape")


@pytest.mark.browser
def test_a_comparison_goes_on_without_its_page_and_is_opened_by_its_address(page: Page, app: App) -> None:
    page.goto(f"{app.url}/{PAGE}", timeout=PATIENCE_MS)
    expect(page.get_by_text("have not been compared on this picture yet")).to_be_visible(timeout=PATIENCE_MS)
    only(page, "ViT trained here on scenes")
    expect(page.get_by_text("1 measurement")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Compare all models").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Latest runs")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("link", name="Model benchmark").first.click()
    expect(page.get_by_text("Compared just now")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stPlotlyChart").locator(".main-svg").first).to_be_visible(timeout=PATIENCE_MS)
    address = page.url
    assert re.search(r"benchmark=[0-9a-f]{32}", address)
    with Store.open(app.database_url) as store:
        (run,) = store.runs(RunFilter(kinds=(KIND,)))
        assert (run.model_id, run.status) == ("shipped/vit-scenes", "ok")
        assert store.run(run.id, None).metric("p50_ms")
    for where in (address, f"{app.url}/{PAGE}?run={run.id}", f"{app.url}/{PAGE}"):  # the last: found at once
        page.goto(where, timeout=PATIENCE_MS)
        expect(page.get_by_text("What each model made of it")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.browser
def test_it_fits_a_telephone_and_shows_what_failed(page: Page, app: App) -> None:
    models = ("shipped/vit-scenes", "shipped/sam-scenes")
    plan = Plan(models, ("coffee", "scene/1"), (Options(),))
    with Store.open(app.database_url) as store:
        store.record(bench_run(plan, models[0], numbers_of(4.0)))
        store.record(bench_run(plan, models[1], {}, error=("Gone", "<b id=bold>It was killed.</b>")))
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{app.url}/{PAGE}?benchmark={plan.id}", timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="Could not be measured")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("It was killed.")).to_be_visible()
    expect(page.locator("#bold")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
