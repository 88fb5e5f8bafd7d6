"""Finding a place again as a person does it, in a real browser: click in one picture, look in the other."""

import contextlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Error, Page, expect

from core.features.query import Patch, patch_centres
from core.preprocess import Frame
from core.scenes import apply_homography, generate_pair
from db import Store
from db.records import RunFilter
from tests.support.browser import App

PATIENCE_MS = 240_000
CLICKS = 12
SEED = 6
PAIR = generate_pair(SEED)
FRAME = Frame((0, 0, 224, 224), (16, 16))
"""Of the shipped models: 16 x 16 patches of 14 pixels of the picture."""
CORNER: Patch = (8, 4)
"""On the edge of the plain triangle: the shipped models find it again, the way back ends there, and it looks
like no other place (in the middle of a disc or on the ground every patch looks like its neighbours)."""
BOUND_PX = 21.0
"""A patch and a half: a match is the centre of a patch, so half of one is lost without any mistake."""
NEAR = f"Math.hypot(at[0] - x, at[1] - y) <= {BOUND_PX}"


def settled(page: Page) -> None:
    """Wait until the app has nothing more to do."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)


def click(page: Page, which: int, patch: Patch) -> None:
    """Click the middle of a patch of the first (0) or second (1) picture."""
    # Measured in one step of the page: Plotly puts a new element in its place whenever it draws anew.
    find = """which => {
        const charts = document.querySelectorAll('[data-testid="stPlotlyChart"]');
        const box = charts[which]?.querySelector('.nsewdrag')?.getBoundingClientRect();
        return box?.width ? [box.width, box.height] : null;
    }"""
    width, height = page.wait_for_function(find, arg=which, timeout=PATIENCE_MS).json_value()
    # Over the plot itself; its axes may leave room beside the picture, which is square here.
    side = min(width, height)
    left = (width - side) / 2
    x, y = patch_centres(FRAME)[patch]
    place = page.get_by_test_id("stPlotlyChart").nth(which).locator(".nsewdrag").first
    place.click(position={"x": left + x / 224 * side, "y": y / 224 * side}, timeout=PATIENCE_MS)


def click_until(page: Page, which: int, patch: Patch, taken: Callable[[float], None]) -> None:
    """Click a patch until the page has taken it: a chart that is just being drawn anew drops a click."""
    for _ in range(CLICKS):
        settled(page)
        with contextlib.suppress(AssertionError, Error):  # `Error`: the chart was exchanged under the pointer
            click(page, which, patch)
            taken(PATIENCE_MS / CLICKS)
            break
    taken(1000)
    settled(page)


def said(page: Page, patch: Patch, patience_ms: float = PATIENCE_MS) -> None:
    """Wait until the row and column inputs hold this patch."""
    row, column = map(str, patch)
    expect(page.get_by_label("Row", exact=True)).to_have_value(row, timeout=patience_ms)
    expect(page.get_by_label("Column", exact=True)).to_have_value(column, timeout=patience_ms)
    settled(page)


def finds(page: Page, picture: int, true: tuple[float, float]) -> None:
    """Wait until the outlined best match is near the true place: the inputs change before the maps do."""
    find = """picture => {
        const charts = document.querySelectorAll('[data-testid="stPlotlyChart"] .js-plotly-plot');
        const marks = charts[picture]?.data?.find(trace => trace.name === 'best places');
        return marks ? [marks.x[0], marks.y[0]] : null;
    }"""
    near = f"([picture, x, y]) => {{ const at = ({find})(picture); return at && {NEAR}; }}"
    with contextlib.suppress(Error):  # the assertion below says what was found instead
        page.wait_for_function(near, arg=[picture, *true], timeout=PATIENCE_MS / CLICKS)
    x, y = page.wait_for_function(find, arg=picture, timeout=PATIENCE_MS).json_value()
    assert math.hypot(x - true[0], y - true[1]) <= BOUND_PX, f"found {x:g}, {y:g} instead of {true}"


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
    click_until(page, 0, CORNER, lambda patience_ms: said(page, CORNER, patience_ms))
    true = moved(lambda xy: apply_homography(PAIR.matrix, xy), CORNER)
    finds(page, 1, true)

    page.keyboard.press("ArrowRight")
    said(page, (CORNER[0], CORNER[1] + 1))
    page.keyboard.press("ArrowUp")
    said(page, (CORNER[0] - 1, CORNER[1] + 1))

    # And back: a click in the second picture asks the first.
    back = FRAME.patch_at(*true)
    click_until(page, 1, back, lambda patience_ms: said(page, back, patience_ms))
    inverse = np.linalg.inv(PAIR.matrix)
    finds(page, 0, moved(lambda xy: apply_homography(inverse, xy), back))

    with Store.open(app.database_url) as store:
        (run,) = store.runs(RunFilter())
        assert store.run(run.id, None).view["asked"]["side"] == "second"

    address = page.url
    assert f"run={run.id}" in address
    page.goto("about:blank")
    page.goto(address, timeout=PATIENCE_MS)
    said(page, back)
    finds(page, 0, moved(lambda xy: apply_homography(inverse, xy), back))


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
        click_until(page, 0, (3, 4), lambda ms, n=present: expect(added).to_have_count(n, timeout=ms))
