"""Models compared as a person does it, in a real browser: ask, watch, vote; with the loopback server."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.scenes import generate_scene
from core.vlm.datasets import scene_items
from db import RunFilter, Store
from tests.conftest import skip_or_fail
from tests.support.browser import App, running_app
from tests.support.vlm_server import SENTENCE, VlmServer
from tests.support.vlm_server.truths import teach_items

PATIENCE_MS = 120_000
FIRST_TOKEN_MS = 150
PAGE = "vlm_head_to_head"


@pytest.fixture(scope="module")
def server() -> Iterator[VlmServer]:
    with VlmServer() as running:
        yield running


@pytest.fixture(scope="module")
def remote_app(tmp_path_factory: pytest.TempPathFactory, server: VlmServer) -> Iterator[App]:
    """The app against the loopback server, without models of its own."""
    folder = tmp_path_factory.mktemp("remote")
    address = {"VISION_BENCH_LOOPBACK_URL": server.url, "VISION_BENCH_CHECKPOINTS": str(folder)}
    with running_app(folder, os.environ | address) as running:
        yield running


def settled(page: Page) -> None:
    """Wait until the app has nothing more to do."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)


def choose(page: Page, *models: str) -> None:
    """Type the ids of models into their field."""
    field = page.get_by_role("combobox", name="Models")
    for model in models:
        field.fill(model)
        field.press("Enter")
        expect(page.get_by_test_id("stMultiSelect").get_by_text(model, exact=True)).to_be_visible()
        settled(page)
    field.press("Escape")


def opened(page: Page, app: App, *models: str) -> Page:
    page.goto(f"{app.url}/{PAGE}", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    choose(page, *models)
    return page


def ask(page: Page) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()


@pytest.mark.browser
def test_the_first_view_is_a_comparison_of_the_shipped_captioners(page: Page, app: App) -> None:
    if not Path("checkpoints/captioner-small.json").exists():
        skip_or_fail("the shipped captioners are not there")
    page.goto(f"{app.url}/{PAGE}", timeout=PATIENCE_MS)
    expect(page.get_by_text("saved as run")).to_have_count(2, timeout=PATIENCE_MS)
    with Store.open(app.database_url) as store:
        runs = [store.run(run.id, None) for run in store.runs(RunFilter(kinds=("vlm",)))]
        answers = [store.artifact(run.id, "answer.txt", None).decode() for run in runs]
    assert {run.model_id for run in runs} == {"shipped/captioner-small", "shipped/captioner-large"}
    for answer in answers:
        expect(page.get_by_text(answer, exact=True).first).to_be_visible()
    assert generate_scene(1).objects
    address = page.url
    page.goto("about:blank")
    page.goto(address, timeout=PATIENCE_MS)
    expect(page.get_by_text("saved as run")).to_have_count(2, timeout=PATIENCE_MS)
    with Store.open(app.database_url) as store:
        assert store.count(RunFilter(kinds=("vlm",))) == 2


@pytest.mark.browser
def test_an_answer_is_seen_as_it_comes(page: Page, remote_app: App, server: VlmServer) -> None:
    opened(page, remote_app, "openai/slow", "gemini/slow")
    server.reset()
    page.evaluate(
        """() => { window.first = null; new MutationObserver(() => {
            if (!window.first && document.body.innerText.includes('piece01')) window.first = Date.now();
        }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    )
    clock = time.time() - time.monotonic()
    ask(page)
    seen_ms = page.wait_for_function("() => window.first", timeout=PATIENCE_MS).json_value()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()  # it is not all there yet
    came_ms = (min(seen.at for seen in server.requests) + 0.05 + clock) * 1000
    assert seen_ms - came_ms < 4 * FIRST_TOKEN_MS  # the bound itself is measured on a quiet machine
    expect(page.get_by_text("piece20").first).to_be_visible(timeout=PATIENCE_MS)
    settled(page)


@pytest.mark.browser
def test_cancel_ends_the_answers_and_one_can_be_asked_again(
    page: Page, remote_app: App, server: VlmServer
) -> None:
    opened(page, remote_app, "openai/ok", "openai/delay-4000")
    ask(page)
    expect(page.get_by_text(SENTENCE).first).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled").first).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    server.reset()
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text(SENTENCE)).to_have_count(2, timeout=PATIENCE_MS)
    settled(page)
    assert [seen.model for seen in server.requests] == ["delay-4000"]


@pytest.mark.browser
def test_a_blind_vote_by_keyboard(page: Page, remote_app: App) -> None:
    opened(page, remote_app, "openai/ok", "gemini/echo")
    page.get_by_text("Blind", exact=True).click()
    settled(page)
    ask(page)
    expect(page.get_by_text("Which answer is better?")).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    answers = page.get_by_test_id("stColumn").filter(has_text="Answered")
    assert "openai" not in answers.first.inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Your vote: Right is better")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Which answer is better?")).to_have_count(0)
    expect(page.get_by_text("saved as run")).to_have_count(2, timeout=PATIENCE_MS)
    page.keyboard.press("ArrowLeft")
    settled(page)
    with Store.open(remote_app.database_url) as store:
        (vote,) = store.votes(None)
    assert vote.choice == "second" and vote.blind and vote.loopback
    expect(page.get_by_text("loopback server").first).to_be_visible()


@pytest.mark.browser
def test_hostile_answers_do_nothing(page: Page, remote_app: App) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page, remote_app, "openai/hostile", "gemini/hostile")
    ask(page)
    expect(page.get_by_text("Answered")).to_have_count(2, timeout=PATIENCE_MS)
    settled(page)
    for _ in range(2):  # as text, then formatted
        main = page.get_by_test_id("stMain")
        assert main.locator("script").count() == 0
        assert main.locator("a[href*='127.0.0.1:9'], a[href^='javascript']").count() == 0
        assert main.locator("img[src*='127.0.0.1:9']").count() == 0
        page.get_by_text("Formatted", exact=True).click()
        settled(page)
    assert page.title() != "owned"
    assert not [url for url in asked if "127.0.0.1:9/" in url]


@pytest.mark.browser
def test_a_data_set_run_from_start_to_filtered_results(
    page: Page, remote_app: App, server: VlmServer
) -> None:
    teach_items(server, scene_items(6, 0))
    page.goto(f"{remote_app.url}/{PAGE}", timeout=PATIENCE_MS)
    page.get_by_text("Data set", exact=True).first.click()
    expect(page.get_by_label("Pictures", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    page.get_by_label("Pictures", exact=True).fill("6")
    page.get_by_label("Pictures", exact=True).press("Enter")
    settled(page)
    choose(page, "openai/truth-1.0", "gemini/http-401")
    page.get_by_test_id("stButtonGroup").get_by_text("List objects", exact=True).click()  # questions stay
    settled(page)
    expect(page.get_by_text("12 calls")).to_be_visible()
    server.reset()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Every call is done.")).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    assert len(server.requests) == 12
    expect(page.get_by_text("6 of 6 questions")).to_be_visible()
    expect(page.get_by_text("The key was refused").first).to_be_visible()
    page.get_by_test_id("stButtonGroup").get_by_text("Failures", exact=True).click()
    settled(page)
    expect(page.get_by_text("6 of 6 questions")).to_be_visible()  # one model failed at each
    address = page.url
    page.goto("about:blank")
    page.goto(address, timeout=PATIENCE_MS)
    expect(page.get_by_text("Every call is done.")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("link", name="open", exact=True).first.click()
    expect(page.get_by_text("Measured").first).to_be_visible(timeout=PATIENCE_MS)
    assert len(server.requests) == 12
