"""Models of this machine as a provider: what becomes of a question, its times, its tokens, many at once."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from core.captioner.generate import answer, look
from core.captioner.network import VISUAL_TOKENS
from core.checkpoints import read_card
from core.errors import InputError, SetupError
from core.images import from_rgb
from core.loaders import ModelPool
from core.registry import resolve
from core.scenes import generate_scene
from core.settings import settings
from core.vlm.base import AttemptError, Outcome, Question, Reply
from core.vlm.providers.local import LocalProvider
from tests.support.captioners import TOKENIZER, ends_after, save_captioner, tiny_captioner

PROMPT = "What is in the picture?"
ASKED = len(TOKENIZER.prompt(PROMPT))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captioners that say four words, nothing at all, and never come to an end."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_captioner(folder / "brief.safetensors", ends_after(tiny_captioner(), ASKED + 3))
    save_captioner(folder / "mute.safetensors", ends_after(tiny_captioner(), 1))
    save_captioner(folder / "endless.safetensors", tiny_captioner())
    return folder


@pytest.fixture(autouse=True)
def checkpoints(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(folder))
    settings.cache_clear()


@pytest.fixture
def pool() -> ModelPool:
    return ModelPool(budget_mb=100, device="cpu")


def question(prompt: str = PROMPT, seed: int = 3, max_tokens: int = 50, timeout_s: float = 100.0) -> Question:
    image = from_rgb(generate_scene(seed).rgb, f"scene/{seed}")
    return Question(image, prompt, max_tokens=max_tokens, timeout_s=timeout_s)


def never() -> bool:
    return False


def ask(
    pool: ModelPool, model: str, asked: Question, cancelled: Callable[[], bool] = never
) -> tuple[Reply, list[str]]:
    pieces: list[str] = []
    return LocalProvider("shipped", pool).attempt(model, asked, pieces.append, cancelled), pieces


def test_an_answer(pool: ModelPool, folder: Path) -> None:
    reply, pieces = ask(pool, "brief", question())
    assert (reply.outcome, reply.finish, reply.message) == (Outcome.OK, "stop", "")
    model = ends_after(tiny_captioner(), ASKED + 3)
    said = answer(model, TOKENIZER, look(model, generate_scene(3).rgb), PROMPT, 50)
    assert (reply.text, said.tokens) == (said.text, 4)
    assert "".join(pieces) == reply.text
    assert len(pieces) == 4
    assert reply.returned_model == "shipped/brief"
    assert reply.revision == read_card(folder / "brief.json").sha256[:12]
    assert reply.environment is not None
    assert (reply.environment.device, reply.environment.dtype) == ("cpu", "float32")


def test_the_tokens_are_counted(pool: ModelPool) -> None:
    usage = ask(pool, "brief", question())[0].usage
    assert (usage.input_tokens, usage.image_tokens) == (VISUAL_TOKENS + ASKED, VISUAL_TOKENS)
    assert (usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (5, None, None)
    assert ask(pool, "endless", question(max_tokens=7))[0].usage.output_tokens == 7


def test_the_limit_of_tokens(pool: ModelPool) -> None:
    reply, pieces = ask(pool, "endless", question(max_tokens=6))
    assert (reply.outcome, reply.finish, len(pieces)) == (Outcome.TRUNCATED, "length", 6)
    assert reply.text == "".join(pieces)
    assert reply.message == "The answer was cut at the limit of 6 tokens."


def test_a_model_that_says_nothing(pool: ModelPool) -> None:
    reply, pieces = ask(pool, "mute", question())
    assert (reply.outcome, reply.text, pieces) == (Outcome.EMPTY, "", [])
    assert reply.ttft_ms is None
    assert "without saying anything" in reply.message


@pytest.mark.parametrize("after", [0, 3])
def test_a_cancelled_question_keeps_what_was_said(pool: ModelPool, after: int) -> None:
    pieces: list[str] = []
    provider = LocalProvider("shipped", pool)
    reply = provider.attempt("endless", question(), pieces.append, lambda: len(pieces) >= after)
    assert reply.outcome is Outcome.CANCELLED
    assert (len(pieces), reply.text) == (after, "".join(pieces))
    assert reply.message == "It was cancelled."


def test_the_time_limit(pool: ModelPool) -> None:
    ask(pool, "endless", question(max_tokens=1))
    pieces: list[str] = []

    def slowly(text: str) -> None:
        pieces.append(text)
        time.sleep(0.05)

    with pytest.raises(AttemptError) as caught:
        LocalProvider("shipped", pool).attempt("endless", question(timeout_s=0.3), slowly, never)
    error = caught.value
    assert error.outcome is Outcome.TIMEOUT
    assert error.partial == "".join(pieces)
    assert error.message == "shipped/endless did not finish its answer within 0.3 seconds."
    assert error.remedy.endswith(".")


def test_loading_is_told_apart_from_answering(pool: ModelPool) -> None:
    first, second = ask(pool, "brief", question())[0], ask(pool, "brief", question())[0]
    (loaded,) = pool.loaded()
    assert first.load_ms >= loaded.load_ms > 0
    assert second.load_ms < first.load_ms
    for reply in (first, second):
        assert reply.ttft_ms is not None
        assert 0 < reply.ttft_ms <= reply.total_ms


def test_the_first_piece_is_timed(pool: ModelPool) -> None:
    ask(pool, "brief", question())

    def slowly(text: str) -> None:
        time.sleep(0.1)

    reply = LocalProvider("shipped", pool).attempt("brief", question(), slowly, never)
    assert reply.ttft_ms is not None
    assert reply.total_ms >= reply.ttft_ms + 400  # four pieces, each taken slowly after it was timed


def test_waiting_for_ones_turn_is_not_answering(pool: ModelPool) -> None:
    with pool.vlm(resolve("shipped/brief", "vlm")) as model, ThreadPoolExecutor(1) as executor:
        with model.turn:
            waiting = executor.submit(ask, pool, "brief", question())
            time.sleep(1.0)
            assert not waiting.done()
            freed = time.perf_counter()
        reply = waiting.result(timeout=60)[0]
        assert reply.outcome is Outcome.OK
        assert reply.total_ms <= (time.perf_counter() - freed) * 1000


def test_who_waits_can_be_cancelled(pool: ModelPool) -> None:
    stop = threading.Event()
    with pool.vlm(resolve("shipped/brief", "vlm")) as model, model.turn, ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(ask, pool, "brief", question(), stop.is_set)
        time.sleep(0.2)
        assert not waiting.done()
        stop.set()
        reply, pieces = waiting.result(timeout=60)
    assert (reply.outcome, reply.text, pieces) == (Outcome.CANCELLED, "", [])
    assert (reply.ttft_ms, reply.total_ms) == (None, 0.0)
    assert model.turn.acquire(blocking=False)
    model.turn.release()


def test_ten_at_once_get_each_its_own_answer(pool: ModelPool) -> None:
    prompts = [
        f"How many {colour} objects are there?" for colour in ("red", "blue", "green", "yellow", "white")
    ]
    asked = [question(prompts[seed % 5], seed, max_tokens=12) for seed in range(10)]
    model = tiny_captioner()
    expected = [
        answer(model, TOKENIZER, look(model, one.image.rgb), one.prompt, one.max_tokens).text for one in asked
    ]
    assert len(set(expected)) > 5
    together = threading.Barrier(10)

    def one(number: int) -> tuple[Reply, list[str]]:
        together.wait()
        return ask(pool, "endless", asked[number])

    with ThreadPoolExecutor(10) as executor:
        found = list(executor.map(one, range(10)))
    assert [reply.text for reply, _ in found] == expected
    assert ["".join(pieces) for _, pieces in found] == expected
    assert len(pool.loaded()) == 1


def test_an_error_of_the_listener_lets_the_next_one_ask(pool: ModelPool) -> None:
    def broken(text: str) -> None:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError):
        LocalProvider("shipped", pool).attempt("brief", question(), broken, never)
    assert ask(pool, "brief", question())[0].outcome is Outcome.OK


def test_what_is_not_there_is_said(pool: ModelPool) -> None:
    with pytest.raises(InputError, match="There is no model shipped/breif") as caught:
        ask(pool, "breif", question())
    assert "shipped/brief" in caught.value.remedy
    with pytest.raises(InputError, match="There is no file or folder"):
        LocalProvider("file", pool).attempt("/nowhere/model", question(), lambda _: None, never)
    with pytest.raises(SetupError, match="not on this machine"):
        LocalProvider("hf", pool).attempt("acme/none", question(), lambda _: None, never)


def test_weights_that_are_gone_are_said(tmp_path: Path, pool: ModelPool) -> None:
    path = save_captioner(tmp_path / "gone.safetensors", tiny_captioner())
    name = str(path)
    spec = resolve(f"file/{name}", "vlm")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="another file than expected"):
        LocalProvider("file", pool).attempt(name, question(), lambda _: None, never)
    assert spec.tasks == ("vlm",)
    path.unlink()
    with pytest.raises(InputError, match="There is no file or folder"):
        LocalProvider("file", pool).attempt(name, question(), lambda _: None, never)


def test_the_models_that_are_ready(pool: ModelPool, folder: Path) -> None:
    provider = LocalProvider("shipped", pool)
    assert [model.id for model in provider.models()] == ["brief", "endless", "mute"]
    assert {(model.title, model.sees) for model in provider.models()} == {("Tiny", True)}
    assert not provider.is_loopback
    assert LocalProvider("hf", pool).models() == ()
    provider.close()
    assert ask(pool, "brief", question())[0].outcome is Outcome.OK
