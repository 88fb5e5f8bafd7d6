"""The app in a process of its own, and a real Chromium to look at it."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120
ACTION_TIMEOUT_MS = 90_000
"""How long the page may take for one step; a busy machine loads torch in that time."""
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass(frozen=True)
class App:
    """A running app."""

    url: str
    database_url: str
    """Address of its store."""
    process: subprocess.Popen[bytes]
    log: Path


def chromium() -> str | None:
    """Return the path of an installed Chromium, or None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_app(folder: Path, environment: Mapping[str, str]) -> Iterator[App]:
    """Start the app with a new store in `folder`; end it afterwards.

    Raises:
        RuntimeError: It did not come up; the message holds its log.
    """
    port, log = free_port(), folder / "app.log"
    database_url = f"sqlite:///{folder / 'store.sqlite3'}"
    options = {"server.headless": "true", "server.address": "127.0.0.1", "server.port": str(port)}
    command = [sys.executable, "-m", "streamlit", "run", "Home.py"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "VISION_BENCH_DATABASE_URL": database_url},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    app = App(f"http://127.0.0.1:{port}", database_url, process, log)
    try:
        _wait_until_healthy(app)
        yield app
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _wait_until_healthy(app: App) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while app.process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"{app.url}/_stcore/health", timeout=5):
                return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError(f"The app did not start:\n{app.log.read_text()}")


def settled(page: "Page", patience_ms: float = 180_000) -> None:
    """Wait until the app has nothing more to do."""
    from playwright.sync_api import expect

    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=patience_ms)


def choose(page: "Page", label: str, option: str, tries: int = 6) -> None:
    """Choose from a list, as a person would: one that closed when the page was drawn anew is opened again."""
    from playwright.sync_api import TimeoutError as TooLate

    for left in reversed(range(tries)):
        settled(page)
        page.get_by_role("combobox", name=label).click()
        try:
            page.get_by_role("option", name=option).click(timeout=15_000)
        except TooLate:
            if not left:
                raise
        else:
            return
