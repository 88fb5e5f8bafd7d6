"""A question leaves one run, whatever became of it; asked by the real SDKs at the loopback server."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import InputError, SetupError
from core.images import ImageInput, from_rgb
from core.scenes import generate_scene
from core.settings import settings
from core.vlm.addresses import Addresses
from core.vlm.base import Outcome
from core.vlm.keys import Keys
from core.vlm.workflow import Asked, Providers, ask_about, split
from db import RunFilter, Store
from db.records import RunRecord
from tests.support.vlm_server import SENTENCE, SUCCESSOR, VlmServer, key_digest

OWNER = "ada"
Put = Callable[..., tuple[Asked, RunRecord]]
SERVICES = ("gemini/", "openai/", "compatible/", "together/ORG/")
PRICE = """
[[price]]
provider = "openai"
model = "{model}"
input = {dollars}
cached = 0.5
output = 10.0
as_of = 2026-01-01
source = "https://example.test/prices"
"""


@pytest.fixture(scope="module")
def image() -> ImageInput:
    """A small drawn picture."""
    return from_rgb(generate_scene(3).rgb, "scene")


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of this test."""
    with Store.open(settings().database_url) as opened:
        yield opened


@pytest.fixture
def providers(vlm_server: VlmServer) -> Iterator[Providers]:
    """Every remote provider, spoken to at the loopback server."""
    with Providers(Keys(), Addresses(loopback=vlm_server.url)) as opened:
        yield opened


@pytest.fixture
def ask(store: Store, providers: Providers, image: ImageInput) -> Put:
    """Return a function that asks a model and returns what came of it with its run."""

    def put(model_id: str, **more: object) -> tuple[Asked, RunRecord]:
        options = {"providers": providers, "sink": store, "owner": OWNER} | more
        asked = ask_about(image, model_id, "caption", "What is there?", (SENTENCE,), **options)
        return asked, store.run(asked.run_id, OWNER)

    return put


def text_of(store: Store, run: RunRecord, name: str) -> str:
    return store.artifact(run.id, name, OWNER).decode()


def priced(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setenv("VISION_BENCH_PRICES", str(path))
    settings.cache_clear()


@pytest.mark.parametrize("service", SERVICES)
def test_an_answer_is_one_run_with_everything_it_took(service: str, ask: Put, store: Store) -> None:
    asked, run = ask(f"{service}ok", comparison="together-1")
    assert (run.status, run.kind, run.model_id, run.error_class) == ("ok", "vlm", f"{service}ok", "")
    assert text_of(store, run, "answer.txt") == SENTENCE
    told = run.parameters
    assert (told["requested"], told["outcome"], told["task"]) == (f"{service}ok", "ok", "caption")
    assert (told["loopback"], told["comparison"]) == (True, "together-1")
    assert run.environment.device == service.partition("/")[0]
    assert 0 < run.metric("ttft_ms") <= run.metric("total_ms") == run.duration_ms
    assert run.metric("image_tokens") in (None, 258)
    assert run.metric("output_tokens") == len(SENTENCE.split())
    speed = run.metric("output_tokens") / run.metric("total_ms") * 1000
    assert run.metric("tokens_per_s") == pytest.approx(speed)
    assert run.metric("attempts") == 1
    assert (run.metric("score_chrf"), run.metric("score_rouge_l")) == (1.0, 1.0)
    assert asked.scored is not None
    assert (run.metric("cost_usd"), asked.cost, "cost" in told) == (None, None, False)  # unknown, and not 0
    assert [picture.sha256 for picture in run.inputs] == [run.inputs[0].sha256]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("behaviour", "outcome", "partial"),
    [
        ("http-400", Outcome.BAD_REQUEST, ""),
        ("bad-key", Outcome.AUTH, ""),
        ("http-404", Outcome.MODEL_GONE, ""),
        ("quota", Outcome.QUOTA, ""),
        ("http-429-hard", Outcome.RATE_LIMITED, ""),
        ("blocked-answer", Outcome.BLOCKED, "A red star lies on "),
        ("truncated", Outcome.TRUNCATED, "A red star lies on a "),
        ("thinking", Outcome.TRUNCATED, ""),
        ("empty", Outcome.EMPTY, ""),
    ],
)
def test_a_failure_is_a_run_of_its_class_and_no_answer(
    service: str,
    behaviour: str,
    outcome: Outcome,
    partial: str,
    ask: Put,
    store: Store,
) -> None:
    asked, run = ask(f"{service}{behaviour}")
    assert (run.status, run.error_class) == ("failed", outcome.value)
    assert run.error_message and asked.scored is None
    assert [file.name for file in run.artifacts] == (["partial.txt"] if partial else [])
    if partial:
        assert text_of(store, run, "partial.txt") == partial
    assert not [metric.name for metric in run.metrics if metric.name.startswith("score_")]
    assert store.count(RunFilter(owner=OWNER)) == 1


def test_every_attempt_is_on_record_and_none_is_in_the_latency(ask: Put) -> None:
    _, run = ask("openai/flaky-2")
    attempts = run.parameters["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["server_error", "server_error", "ok"]
    assert [attempt.get("status") for attempt in attempts] == [503, 503, None]
    assert run.metric("attempts") == 3
    assert run.duration_ms == attempts[-1]["total_ms"] < sum(attempt["wait_ms"] for attempt in attempts)


def test_the_price_is_that_of_the_model_which_answered_on_that_day(
    ask: Put,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store: Store,
) -> None:
    table = PRICE.format(model="other-model", dollars=999.0) + PRICE.format(model=SUCCESSOR, dollars=2.0)
    priced(monkeypatch, tmp_path / "prices.toml", table)
    asked, run = ask("openai/other-model")
    took = (run.metric("input_tokens") * 2.0 + run.metric("output_tokens") * 10.0) / 1e6
    assert run.metric("cost_usd") == pytest.approx(took)
    assert run.parameters["returned"] == SUCCESSOR == run.model_revision
    assert run.parameters["cost"]["as_of"] == "2026-01-01"
    assert asked.cost is not None and asked.cost.usd == run.metric("cost_usd")
    priced(monkeypatch, tmp_path / "dearer.toml", PRICE.format(model=SUCCESSOR, dollars=50.0))
    assert store.run(run.id, OWNER).metric("cost_usd") == pytest.approx(took)


def test_cancelled_is_neither_an_answer_nor_a_failure(ask: Put, store: Store) -> None:
    cancel = threading.Event()
    _, run = ask("openai/slow", cancel=cancel, on_text=lambda _: cancel.set())
    assert (run.status, run.parameters["outcome"]) == ("cancelled", "cancelled")
    assert text_of(store, run, "partial.txt").startswith("piece01")


def test_without_a_store_nothing_is_kept(image: ImageInput, providers: Providers, store: Store) -> None:
    asked = ask_about(image, "gemini/ok", "free", "Hm?", (), providers=providers, sink=None, owner=OWNER)
    assert (asked.answer.text, asked.run_id, asked.scored) == (SENTENCE, "", None)
    assert store.count(RunFilter()) == 0


@pytest.mark.parametrize("model_id", ["", "gpt-5", "openai/", "anthropic/claude", "/x", "../../etc/passwd"])
def test_what_is_no_model_is_one_sentence_and_no_run(model_id: str, ask: Put, store: Store) -> None:
    with pytest.raises(InputError, match="is no model that can be asked"):
        ask(model_id)
    with pytest.raises(InputError):
        split(model_id)
    assert store.count(RunFilter()) == 0


def test_a_missing_key_is_said_before_anything_is_sent(image: ImageInput, store: Store) -> None:
    with (
        Providers(Keys(), Addresses()) as bare,
        pytest.raises(SetupError, match="no key of Gemini") as caught,
    ):
        ask_about(image, "gemini/x", "free", "Hm?", (), providers=bare, sink=store, owner=OWNER)
    assert "GEMINI_API_KEY" in caught.value.remedy
    assert store.count(RunFilter()) == 0


def test_sessions_with_different_keys_never_swap_them(
    vlm_server: VlmServer, image: ImageInput, store: Store
) -> None:
    """Each session asks a model that answers to its own key alone."""
    failures: list[str] = []

    def session(number: int) -> None:
        key = f"sk-session-{number:020d}"
        keys = Keys().with_typed("openai", key)
        model = f"openai/key-{key_digest(key)[:16]}"
        with Providers(keys, Addresses(loopback=vlm_server.url)) as mine:
            for _ in range(5):
                asked = ask_about(
                    image, model, "free", "Who am I?", (), providers=mine, sink=store, owner=f"owner-{number}"
                )
                if asked.answer.text != SENTENCE:
                    failures.append(asked.answer.message)

    threads = [threading.Thread(target=session, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({seen.key_digest for seen in vlm_server.requests}) == 6
    assert [store.count(RunFilter(owner=f"owner-{number}")) for number in range(6)] == [5] * 6


def test_a_key_is_in_no_run_whatever_the_provider_says(
    vlm_server: VlmServer, image: ImageInput, store: Store
) -> None:
    key = "sk-wrong-and-very-secret-0123456789"
    keys = Keys().with_typed("openai", key)
    with Providers(keys, Addresses(loopback=vlm_server.url)) as mine:
        for behaviour in ("ok", "bad-key", "http-500", "html-error"):
            ask_about(
                image, f"openai/{behaviour}", "free", "Hm?", (), providers=mine, sink=store, owner=OWNER
            )
    for summary in store.runs(RunFilter(owner=OWNER)):
        assert key not in repr(store.run(summary.id, OWNER))
    path = Path(settings().database_url.removeprefix("sqlite:///"))
    kept = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert b"very-secret" not in kept
