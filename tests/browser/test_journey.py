"""The main job as a person does it: a photograph, a click on a patch, the run found again and reopened."""

import re
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import App

PATIENCE_MS = 120_000
RUN_ID = re.compile(r"saved as run ([0-9A-Z]{26})")


def drawn_map(page: Page) -> list[list[float]]:
    """Return the values of the map as Plotly holds them in the browser."""
    expect(page.locator(".js-plotly-plot .heatmaplayer image").first).to_be_attached(timeout=PATIENCE_MS)
    return page.evaluate(
        """() => {
            const plot = document.querySelector('.js-plotly-plot');
            const map = plot._fullData.find(trace => trace.type === 'heatmap');
            return Array.from(map.z, row => Array.from(row));
        }"""
    )


def picture_area(page: Page) -> dict[str, float]:
    """Return where the picture is on the screen: x, y, width, height."""
    return page.evaluate(
        """() => {
            const plot = document.querySelector('.js-plotly-plot');
            const {xaxis, yaxis} = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return {x: box.x + xaxis._offset, y: box.y + yaxis._offset,
                    width: xaxis._length, height: yaxis._length};
        }"""
    )


def run_id(page: Page) -> str:
    footer = page.get_by_text(RUN_ID).first
    expect(footer).to_be_visible(timeout=PATIENCE_MS)
    match = RUN_ID.search(footer.inner_text(timeout=PATIENCE_MS))
    assert match
    return match.group(1)


def settled(page: Page) -> None:
    """Wait until the app has nothing more to do."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)


def number(page: Page, label: str) -> Locator:
    return page.get_by_role("spinbutton", name=label, exact=True)


def select_first_row(page: Page) -> None:
    """Click the box in front of the first row; the table is one canvas under a transparent scroller."""
    grid = page.get_by_test_id("stDataFrame").last
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box
    page.mouse.click(box["x"] + 18, box["y"] + 58)


def test_from_picture_to_history_and_back(app: App, page: Page) -> None:
    page.goto(f"{app.url}/attention_maps", timeout=PATIENCE_MS)
    sample = page.get_by_role("combobox", name="Sample picture")
    expect(sample).to_have_value("Astronaut Eileen Collins", timeout=PATIENCE_MS)
    expect(page.get_by_text("Rows sum to 1 within")).to_be_visible(timeout=PATIENCE_MS)
    first_run = run_id(page)
    settled(page)
    by_cls = drawn_map(page)
    rows, columns = len(by_cls), len(by_cls[0])

    area = picture_area(page)
    x, y = area["x"] + area["width"] * 0.9, area["y"] + area["height"] * 0.3
    page.mouse.move(x, y)
    expect(page.locator(".hoverlayer")).to_contain_text(f"row {int(rows * 0.3)}, column {int(columns * 0.9)}")
    page.mouse.click(x, y)
    expect(number(page, "Row")).to_have_value(str(int(rows * 0.3)), timeout=PATIENCE_MS)
    expect(number(page, "Column")).to_have_value(str(int(columns * 0.9)))
    settled(page)
    by_patch = drawn_map(page)
    assert by_patch != by_cls
    assert run_id(page) == first_run  # looking at another patch ran no model
    assert first_run in page.url

    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("1 run", exact=False).first).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    select_first_row(page)
    page.get_by_role("button", name="Show all of it").click(timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name=f"Run {first_run}")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Open this run").click()

    expect(page.get_by_role("heading", name="Attention maps")).to_be_visible(timeout=PATIENCE_MS)
    expect(number(page, "Row")).to_have_value(str(int(rows * 0.3)), timeout=PATIENCE_MS)
    settled(page)
    assert drawn_map(page) == by_patch
    assert run_id(page) == first_run


def test_the_address_of_a_run_works_in_another_browser(app: App, browser: Browser) -> None:
    """Also the very first request for a page's own address goes through the router."""
    first, second = browser.new_context(), browser.new_context()
    mine, other = first.new_page(), second.new_page()
    mine.goto(f"{app.url}/attention_maps", timeout=PATIENCE_MS)
    shown_run = run_id(mine)
    settled(mine)
    other.goto(mine.url, timeout=PATIENCE_MS)
    expect(other.get_by_text("computed again")).to_be_visible(timeout=PATIENCE_MS)
    assert run_id(other) == shown_run
    assert other.get_by_role("link", name="Attention maps").count() == 1
    assert drawn_map(other) == drawn_map(mine)
    first.close()
    second.close()


def test_a_narrow_window_scrolls_nothing_sideways(app: App, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page: Any = context.new_page()
    for path, sign in (
        ("", "This machine"),
        ("attention_maps", "Rows sum to 1 within"),
        ("history", "Duration over time"),
    ):
        page.goto(f"{app.url}/{path}", timeout=PATIENCE_MS)
        expect(page.get_by_text(sign).first).to_be_visible(timeout=PATIENCE_MS)
        settled(page)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, path
    context.close()
