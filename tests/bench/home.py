"""Memory of the app's process before any model is used, and what it has loaded by then.

    python -m tests.bench.home

Opens the overview and the history of a running app in a real browser and reads the process's resident memory.
"""

import os
import tempfile
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from tests.support.browser import FLAGS, App, chromium, running_app

LIMIT_MB = 200.0
HEAVY = ("torch", "timm", "transformers")


def resident_mb(app: App) -> float:
    """Return the process's resident memory in MB (10^6 bytes)."""
    return float(psutil.Process(app.process.pid).memory_info().rss) / 1e6


def heavy_libraries(app: App) -> list[str]:
    """Return the model libraries whose compiled parts the process has mapped."""
    paths = [mapping.path for mapping in psutil.Process(app.process.pid).memory_maps()]
    return [name for name in HEAVY if any(f"/site-packages/{name}/" in path for path in paths)]


PAGES = (("Overview", "", "This machine"), ("History", "history", "Nothing has run"))


def main() -> None:
    print(f"{'after opening':16} {'MB':>6} {'of limit':>9}  model libraries mapped")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder), os.environ) as app,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        for name, path, sign in PAGES:
            page.goto(f"{app.url}/{path}", timeout=120_000)
            page.get_by_text(sign).first.wait_for(timeout=120_000)
            used = resident_mb(app)
            print(f"{name:16} {used:6.0f} {used / LIMIT_MB:8.2f}x  {heavy_libraries(app) or 'none'}")
        browser.close()


if __name__ == "__main__":
    main()
