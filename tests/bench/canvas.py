"""From a click to the new mask on the screen, against the round trip of a bare canvas, in Chromium.

    python -m tests.bench.canvas [--clicks N]

The page "Segment anything" with the shipped model: from the mouse going down on the canvas until the
picture behind it has other pixels. Before each click the prompts are cleared, so each gives a new mask.

Bare: a script of a few lines that draws such a picture in a streamlit-drawable-canvas and writes how many
objects it holds, until that text has changed. Both apps are open in the same browser and take turns. Times
are those of the browser's own clock; changes are looked for in every frame.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from playwright.sync_api import Page, sync_playwright

from core.images import encode_png
from core.scenes import generate_scene
from tests.support.browser import FLAGS, ROOT, START_TIMEOUT_S, chromium, free_port, running_app

PATIENCE_MS = 120_000
QUIET_S = 0.7
WANTED = 1.6
UPPER = "canvas.upper-canvas"
CLEAR = ".st-key-segment_Clear button"

BARE_APP = """
from pathlib import Path

import streamlit as st
from streamlit_drawable_canvas import st_canvas

result = st_canvas(
    background_image=Path({picture!r}).read_bytes(),
    width={width},
    height={height},
    drawing_mode="point",
    point_display_radius=5,
    key="canvas",
)
st.write("objects:", len((result.json_data or {{}}).get("objects", [])))
"""

WATCH = """
() => {
  const inside = root => {
    for (const element of root.querySelectorAll('*')) {
      if (element.matches('canvas.dc-background-canvas')) return element;
      const found = element.shadowRoot && inside(element.shadowRoot);
      if (found) return found;
    }
  };
  window.pixels = () => {
    const canvas = inside(document);
    return canvas && canvas.width ? canvas.toDataURL() : '';
  };
  window.objects = () => (document.body.innerText.match(/objects: *\\d+/) ?? [''])[0];
  window.timed = look => {
    const before = look();
    window.took = null;
    window.addEventListener('mousedown', () => {
      const start = performance.now();
      const frame = () => {
        const now = look();
        if (now && now !== before) window.took = performance.now() - start;
        else requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    }, {capture: true, once: true});
  };
}
"""


@contextmanager
def bare_app(folder: Path, width: int, height: int) -> Iterator[str]:
    """Run the bare canvas; yield its address."""
    picture, script, port = folder / "scene.png", folder / "bare.py", free_port()
    picture.write_bytes(encode_png(generate_scene(0).rgb))
    script.write_text(BARE_APP.format(picture=str(picture), width=width, height=height), encoding="utf-8")
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    command += ["--server.address=127.0.0.1", f"--server.port={port}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url)
        yield url
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def wait_until_healthy(url: str) -> None:
    """Return once the app answers.

    Raises:
        TimeoutError: It does not.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except URLError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not start")


def settle(page: Page, look: str) -> None:
    """Wait until the app has nothing more to do and what is looked at stays as it is."""
    before, since, deadline = "", time.monotonic(), time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() - since < QUIET_S:
        if time.monotonic() > deadline:
            raise TimeoutError("the page does not come to rest")
        page.wait_for_timeout(100)
        now = page.evaluate(f"window.{look}()")
        busy = page.get_by_test_id("stStatusWidget").count() > 0 or not now
        if busy or now != before:
            before, since = now, time.monotonic()


def timed_click(page: Page, look: str, place: tuple[float, float]) -> float:
    """Return the milliseconds from a click at `place` (shares of width and height) to the change."""
    canvas = page.locator(UPPER)
    canvas.scroll_into_view_if_needed()
    settle(page, look)
    box = canvas.bounding_box()
    assert box
    page.evaluate(f"window.timed(window.{look})")
    page.mouse.click(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
    page.wait_for_function("window.took !== null", timeout=PATIENCE_MS)
    return float(page.evaluate("window.took"))


def opened(page: Page, url: str, look: str) -> Page:
    """Open an app and wait until its canvas is there."""
    page.goto(url, timeout=PATIENCE_MS)
    page.locator(UPPER).wait_for(timeout=PATIENCE_MS)
    page.evaluate(WATCH)
    settle(page, look)
    return page


def measure(clicks: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each click: of the page, and of the bare canvas."""
    places = np.random.default_rng(0).uniform(0.1, 0.9, (clicks + 1, 2))
    ours, bare = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder), os.environ) as app,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=FLAGS) as browser,
    ):
        viewport = {"width": 1440, "height": 1000}
        page = opened(browser.new_page(viewport=viewport), f"{app.url}/segment_anything", "pixels")
        box = page.locator(UPPER).bounding_box()
        assert box
        with bare_app(Path(folder), round(box["width"]), round(box["height"])) as url:
            other = opened(browser.new_page(viewport=viewport), url, "objects")
            for x, y in places:
                page.bring_to_front()
                page.locator(CLEAR).click(timeout=PATIENCE_MS)
                settle(page, "pixels")
                ours.append(timed_click(page, "pixels", (x, y)))
                other.bring_to_front()
                bare.append(timed_click(other, "objects", (x, y)))
    return ours[1:], bare[1:]  # the first warms up


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=15)
    ours, bare = measure(parser.parse_args().clicks)
    for name, ms in (("click to new mask", ours), ("bare canvas", bare)):
        print(f"{name:18} median {statistics.median(ms):7.1f} ms, {min(ms):.0f} to {max(ms):.0f}")
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"ratio of medians   {ratio:7.2f}, wanted at most {WANTED}")


if __name__ == "__main__":
    main()
