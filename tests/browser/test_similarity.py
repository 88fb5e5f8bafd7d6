"""Finding a place again as a person does it, in a real browser: click in one picture, look in the other."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from core.features.query import Patch, patch_centres
from core.preprocess import Frame
from core.scenes import apply_homography, generate_pair
from db import Store
from db.records import RunFilter
from tests.support.browser import App

PATIENCE_MS = 240_000
SEED = 6
PAIR = generate_pair(SEED)
FRAME = Frame((0, 0, 224, 224), (16, 16))
"""Of the shipped models: 16 x 16 patches of 14 pixels of the picture."""
CORNER: Patch = (8, 4)
"""On the edge of the plain triangle: the shipped models find it again, the way back ends there, and it looks
like no other place (in the middle of a disc or on the ground every patch looks like its neighbours)."""
BOUND_PX = 21.0
"""A patch and a half: a match is the centre of a patch, so half of one is lost without any mistake."""


def settled(page: Page) -> None:
    """Wait until the app has nothing more to do."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)


def chart(page: Page, which: int) -> Locator:
    """Return the place of the first (0) or second (1) picture that is clicked."""
    found = page.get_by_test_id("stPlotlyChart").nth(which).locator(".nsewdrag").first
    expect(found).to_be_visible(timeout=PATIENCE_MS)
    return found


def click(page: Page, which: int, patch: Patch) -> None:
    """Click the middle of a patch."""
    x, y = patch_centres(FRAME)[patch]
    place = chart(page, which)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    # Over the plot itself; its axes may leave room beside the picture, which is square here.
    side = min(box["width"], box["height"])
    left = (box["width"] - side) / 2
    place.click(position={"x": left + x / 224 * side, "y": y / 224 * side}, timeout=PATIENCE_MS)


def said(page: Page, row: str, column: str) -> None:
    """Wait until the row and column inputs hold this patch."""
    expect(page.get_by_label("Row", exact=True)).to_have_value(row, timeout=PATIENCE_MS)
    expect(page.get_by_label("Column", exact=True)).to_have_value(column, timeout=PATIENCE_MS)
    settled(page)


def best_place(page: Page, picture: int) -> tuple[float, float]:
    """Return the centre of the outlined best match, as the chart of a picture draws it."""
    find = """chart => {
        const marks = chart.data.find(trace => trace.name === 'best places');
        return marks ? [marks.x[0], marks.y[0]] : null;
    }"""
    place = page.get_by_test_id("stPlotlyChart").nth(picture).locator(".js-plotly-plot").evaluate(find)
    assert place is not None
    x, y = place
    return float(x), float(y)


def away(found: tuple[float, float], true: tuple[float, float]) -> float:
    return math.hypot(found[0] - true[0], found[1] - true[1])


def moved(how: Callable[[np.ndarray], np.ndarray], patch: Patch) -> tuple[float, float]:
    x, y = how(patch_centres(FRAME)[patch][None])[0]
    return float(x), float(y)


@pytest.fixture
def opened(page: Page, app: App) -> Page:
    page.goto(f"{app.url}/patch_similarity", timeout=PATIENCE_MS)
    expect(page.get_by_text("saved as run").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Unrelated pictures, to compare with")).to_have_count(0, timeout=PATIENCE_MS)
    settled(page)
    return page


@pytest.mark.browser
def test_a_click_in_one_picture_finds_the_place_in_the_other(opened: Page, app: App) -> None:
    page = opened
    click(page, 0, CORNER)
    said(page, *map(str, CORNER))
    true = moved(lambda xy: apply_homography(PAIR.matrix, xy), CORNER)
    assert away(best_place(page, 1), true) <= BOUND_PX

    page.keyboard.press("ArrowRight")
    said(page, str(CORNER[0]), str(CORNER[1] + 1))
    page.keyboard.press("ArrowUp")
    said(page, str(CORNER[0] - 1), str(CORNER[1] + 1))

    # And back: a click in the second picture asks the first.
    back = FRAME.patch_at(*true)
    click(page, 1, back)
    said(page, *map(str, back))
    inverse = np.linalg.inv(PAIR.matrix)
    assert away(best_place(page, 0), moved(lambda xy: apply_homography(inverse, xy), back)) <= BOUND_PX

    with Store.open(app.database_url) as store:
        (run,) = store.runs(RunFilter())
        assert store.run(run.id, None).view["asked"]["side"] == "second"

    address = page.url
    assert f"run={run.id}" in address
    page.goto("about:blank")
    page.goto(address, timeout=PATIENCE_MS)
    said(page, *map(str, back))
    assert away(best_place(page, 0), moved(lambda xy: apply_homography(inverse, xy), back)) <= BOUND_PX


@pytest.mark.browser
def test_a_second_click_takes_a_patch_of_several_away(opened: Page) -> None:
    page = opened
    page.get_by_role("button", name="Several").click(timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Several")).to_have_attribute(
        "kind", "primary", timeout=PATIENCE_MS
    )
    settled(page)
    added = page.get_by_role("button", name="+ 3, 4")
    for present in (1, 0, 1):
        click(page, 0, (3, 4))
        expect(added).to_have_count(present, timeout=PATIENCE_MS)
        settled(page)
