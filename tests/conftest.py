"""What every test gets: a world of its own. And what some ask for: the running app, a real browser."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ACTION_TIMEOUT_MS, FLAGS, App, chromium, running_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

# Read by libraries once, so set before anything imports them.
HUB_HOME = tempfile.TemporaryDirectory(prefix="hub-", ignore_cleanup_errors=True)
for inherited in [name for name in os.environ if name.startswith("VISION_BENCH_")]:
    del os.environ[inherited]
os.environ.pop("HF_HUB_OFFLINE", None)
os.environ["HF_HOME"] = HUB_HOME.name
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody answers: no test can reach the real hub
os.environ.setdefault("OMP_NUM_THREADS", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the other core has a worker of its own


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a store of its own, and let it leave neither settings nor caches behind."""
    from core.settings import settings

    monkeypatch.setenv("VISION_BENCH_DATABASE_URL", f"sqlite:///{tmp_path / 'store.sqlite3'}")
    monkeypatch.setenv("VISION_BENCH_TURN_FILE", str(tmp_path / "turn"))
    settings.cache_clear()
    yield
    settings.cache_clear()
    if "streamlit" in sys.modules:
        import streamlit as st

        st.cache_data.clear()
        st.cache_resource.clear()


def skip_or_fail(reason: str) -> None:
    """Skip a test for what this machine lacks; CI must lack nothing."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The running app with an empty store, for the tests of one module."""
    with running_app(tmp_path_factory.mktemp("app"), os.environ) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium. For one module: while it runs, this thread's event loop is taken."""
    from playwright.sync_api import expect, sync_playwright

    program = chromium()
    if program is None:
        skip_or_fail("no Chromium is installed")
    expect.set_options(timeout=ACTION_TIMEOUT_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page in a new browser profile, 1280 x 900; an uncaught script error in it fails the test."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    opened = context.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadFileScheduling":
    """Give each worker one file after the other, but all that needs a browser to the same worker.

    Fixtures of a module are made once, and no two browsers with their apps share the machine.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneBrowserAtATime(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = "tests/browser/"
            return folder if nodeid.startswith(folder) else super()._split_scope(nodeid)

    return OneBrowserAtATime(config, log)
