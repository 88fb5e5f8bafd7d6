"""Segmenting as a person does it, in a real browser: click, correct, undo, take the file away."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from core.scenes import generate_scene
from core.segment.clicks import first_click
from core.segment.export import read_mask
from core.segment.regions import iou
from db import Store
from db.records import RunFilter
from tests.support.browser import App

PATIENCE_MS = 120_000
SCENE = generate_scene(1)


def canvas(page: Page) -> Locator:
    """Return what is clicked; it lies over the picture."""
    found = page.locator("canvas.upper-canvas")
    expect(found).to_have_count(1, timeout=PATIENCE_MS)  # another object has another one
    expect(found).to_be_visible(timeout=PATIENCE_MS)
    return found


def picture(page: Page) -> str:
    """Return what the canvas shows behind the prompts: the picture with its masks."""
    canvas(page)
    return page.locator("canvas.dc-background-canvas").evaluate("canvas => canvas.toDataURL()")


def settled(page: Page) -> None:
    """Wait until the app has nothing more to do."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)


def click(page: Page, x: float, y: float) -> None:
    """Click a pixel of the scene and wait until its mask is on the screen."""
    before = picture(page)
    place = canvas(page)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    scale = box["width"] / SCENE.rgb.shape[1]
    place.click(position={"x": (x + 0.5) * scale, "y": (y + 0.5) * scale})
    changed(page, before)


def changed(page: Page, before: str) -> None:
    """Wait until the canvas shows something else than `before`."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while picture(page) == before:
        assert time.monotonic() < deadline, "the canvas did not change"
        page.wait_for_timeout(100)
    settled(page)


def last_mask(store: Store) -> NDArray[np.bool_]:
    """Return the mask of the newest run."""
    newest = store.runs(RunFilter(), limit=1)[0]
    data = store.artifact(newest.id, "mask.png", None)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data))) > 127


@pytest.fixture
def opened(page: Page, app: App) -> Page:
    page.goto(f"{app.url}/segment_anything", timeout=PATIENCE_MS)
    expect(page.get_by_text("saved as run").first).to_be_visible(timeout=PATIENCE_MS)
    canvas(page)
    settled(page)
    return page


@pytest.mark.browser
def test_click_correct_undo_and_take_away(opened: Page, app: App, tmp_path: Path) -> None:
    page, target = opened, SCENE.objects[1]
    page.get_by_role("button", name="New").click()
    expect(page.get_by_role("button", name="object 2")).to_have_attribute(
        "kind", "primary", timeout=PATIENCE_MS
    )
    settled(page)

    middle = first_click(target.mask, np.random.default_rng(0), "centre")
    click(page, middle.x, middle.y)
    with Store.open(app.database_url) as store:
        first = last_mask(store)
        runs = store.count(RunFilter())
    assert iou(first, target.mask) >= 0.8
    shown = picture(page)

    page.keyboard.press("e")
    expect(page.get_by_role("button", name="Exclude")).to_have_attribute("kind", "primary")
    settled(page)
    rows, columns = np.nonzero(first)
    click(page, float(columns[0]), float(rows[0]))
    with Store.open(app.database_url) as store:
        second = last_mask(store)
        assert store.count(RunFilter()) == runs + 1
    assert second.sum() < first.sum()
    corrected = picture(page)

    for key, expected in (("Control+z", shown), ("Control+y", corrected), ("Control+z", shown)):
        before = picture(page)
        page.keyboard.press(key)
        changed(page, before)
        assert picture(page) == expected
    with Store.open(app.database_url) as store:
        assert store.count(RunFilter()) == runs + 1

    page.get_by_role("radio", name="Files").click()
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="Mask (PNG)").click()
    saved = tmp_path / "mask.png"
    download.value.save_as(saved)
    assert np.array_equal(read_mask(saved.read_bytes(), first.shape), first)


@pytest.mark.browser
def test_a_run_opens_again_by_its_address(opened: Page, app: App) -> None:
    address, shown = opened.url, picture(opened)
    assert "run=" in address
    with Store.open(app.database_url) as store:
        runs = store.count(RunFilter())
    opened.goto("about:blank")
    opened.goto(address, timeout=PATIENCE_MS)
    canvas(opened)
    expect(opened.get_by_text("saved as run").first).to_be_visible(timeout=PATIENCE_MS)
    settled(opened)
    assert picture(opened) == shown
    with Store.open(app.database_url) as store:
        assert store.count(RunFilter()) == runs
