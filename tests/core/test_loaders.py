"""The pool of loaded models under real threads, with real checkpoints.

A weights file that is a named pipe makes a loading last until the test writes into it: what waits for what
is then a fact, not a matter of timing.
"""

import math
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from pathlib import Path

import pytest
import torch

from core import loaders
from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.registry import ModelSpec
from core.vision_model import VisionModel

ARGUMENTS = {
    "image_size": 16,
    "patch_size": 8,
    "num_classes": 2,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 32,
}
CARD = Card(
    kind="classification",
    architecture=Architecture("VisionTransformer", ARGUMENTS),
    labels=("cat", "dog"),
    input=ModelInput(16, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    command="python -m core train vit",
    seed=0,
    data="nothing",
    score=Score("top-1", 0.5, 2, "two pictures"),
    date="2026-01-31",
    duration_s=1.0,
    licence="MIT",
)
SOON_S = 0.3
"""How long something is watched that must not happen."""
LATE_S = 20.0
"""How long something may take that must happen, on a busy machine."""


@pytest.fixture
def new_model(tmp_path: Path) -> Callable[[str], ModelSpec]:
    """Return a function that saves a small checkpoint under a name; each name has weights of its own."""

    def save(name: str) -> ModelSpec:
        torch.manual_seed(len(name) + ord(name[0]))
        path = tmp_path / f"{name}.safetensors"
        card = save_checkpoint(path, VisionTransformer(**ARGUMENTS), CARD)
        return ModelSpec(
            f"file/{name}", name, "file", ("attention",), str(path), card.sha256, card.parameters
        )

    return save


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def size_mb(spec: ModelSpec) -> float:
    with ModelPool(device="cpu").use(spec) as model:
        return model.memory_mb


def held_up(spec: ModelSpec) -> bytes:
    """Put a named pipe in the place of the weights and return what has to be written into it."""
    path = Path(spec.weights)
    data = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    return data


def use(pool: ModelPool, spec: ModelSpec) -> VisionModel:
    with pool.use(spec) as model:
        return model


def names(pool: ModelPool) -> list[str]:
    return [model.spec.title for model in pool.loaded()]


def is_waiting(future: Future[VisionModel]) -> bool:
    try:
        future.exception(timeout=SOON_S)
    except StillRunning:
        return True
    return False


def test_a_model_comes_ready_to_run_and_stays(new_model: Callable[[str], ModelSpec]) -> None:
    spec, pool = new_model("a"), ModelPool(device="cpu")
    with pool.use(spec) as model:
        assert model.forward(torch.zeros(1, 3, 16, 16)).shape == (1, 2)
        assert not model.module.training
        assert not any(parameter.requires_grad for parameter in model.module.parameters())
        assert model.memory_mb == pytest.approx((spec.parameters or 0) * 4 / 1e6)
        assert model.load_ms > 0
    assert pool.loaded() == (model,)
    assert use(pool, spec) is model


def test_requests_at_the_same_time_load_once(
    new_model: Callable[[str], ModelSpec], threads: ThreadPoolExecutor
) -> None:
    spec, pool = new_model("a"), ModelPool(device="cpu")
    data = held_up(spec)
    waiting = [threads.submit(use, pool, spec) for _ in range(8)]
    assert is_waiting(waiting[0])
    Path(spec.weights).write_bytes(data)  # once: a second loading would wait for ever
    models = [future.result(LATE_S) for future in waiting]
    assert all(model is models[0] for model in models)
    assert pool.loaded() == (models[0],)


def test_a_loading_blocks_nobody_else(
    new_model: Callable[[str], ModelSpec], threads: ThreadPoolExecutor
) -> None:
    slow, ready, other = new_model("slow"), new_model("ready"), new_model("other")
    pool = ModelPool(device="cpu")
    use(pool, ready)
    data = held_up(slow)
    waiting = threads.submit(use, pool, slow)
    assert threads.submit(use, pool, ready).result(LATE_S).spec == ready
    assert threads.submit(use, pool, other).result(LATE_S).spec == other
    assert names(pool) == ["ready", "other"]
    assert not pool.unload(slow.id)
    assert is_waiting(waiting)
    Path(slow.weights).write_bytes(data)
    assert waiting.result(LATE_S).spec == slow


def test_a_failed_loading_reaches_everybody_who_waits_and_nobody_later(
    new_model: Callable[[str], ModelSpec], threads: ThreadPoolExecutor
) -> None:
    spec, pool = new_model("a"), ModelPool(device="cpu")
    data = held_up(spec)
    waiting = [threads.submit(use, pool, spec) for _ in range(5)]
    assert is_waiting(waiting[0])
    Path(spec.weights).write_bytes(b"something else")
    for future in waiting:
        assert isinstance(future.exception(LATE_S), InputError)
    assert pool.loaded() == ()
    Path(spec.weights).unlink()
    Path(spec.weights).write_bytes(data)
    assert use(pool, spec).spec == spec


def test_the_least_recently_used_goes_first(new_model: Callable[[str], ModelSpec]) -> None:
    a, b, c = (new_model(name) for name in "abc")
    pool = ModelPool(budget_mb=2.5 * size_mb(a), device="cpu")
    for spec in (a, b, a, c):
        use(pool, spec)
    assert names(pool) == ["a", "c"]
    use(pool, b)
    assert names(pool) == ["c", "b"]


def test_room_is_made_before_a_model_is_loaded(
    new_model: Callable[[str], ModelSpec], threads: ThreadPoolExecutor
) -> None:
    a, b = new_model("a"), new_model("b")
    pool = ModelPool(budget_mb=1.5 * size_mb(a), device="cpu")
    use(pool, a)
    data = held_up(b)
    waiting = threads.submit(use, pool, b)
    assert is_waiting(waiting)
    assert names(pool) == []
    Path(b.weights).write_bytes(data)
    waiting.result(LATE_S)
    assert names(pool) == ["b"]


def test_a_model_in_use_is_never_dropped(new_model: Callable[[str], ModelSpec]) -> None:
    a, b, c = (new_model(name) for name in "abc")
    pool = ModelPool(budget_mb=1.5 * size_mb(a), device="cpu")
    with pool.use(a) as first, pool.use(b):
        use(pool, c)
        assert names(pool) == ["a", "b", "c"]
        assert not pool.unload(a.id)
        assert use(pool, a) is first
    assert names(pool) == ["a"]


def test_a_model_larger_than_the_budget_is_used_and_kept_until_the_next(
    new_model: Callable[[str], ModelSpec],
) -> None:
    a, b = new_model("a"), new_model("b")
    pool = ModelPool(budget_mb=0.5 * size_mb(a), device="cpu")
    assert use(pool, a) is use(pool, a)
    use(pool, b)
    assert names(pool) == ["b"]


def test_unload_drops_what_nobody_uses(new_model: Callable[[str], ModelSpec]) -> None:
    spec, pool = new_model("a"), ModelPool(device="cpu")
    model = use(pool, spec)
    assert pool.unload(spec.id)
    assert not pool.unload(spec.id)
    assert pool.loaded() == ()
    assert use(pool, spec) is not model


def test_another_revision_is_another_model(new_model: Callable[[str], ModelSpec]) -> None:
    old, pool = new_model("a"), ModelPool(device="cpu")
    use(pool, old)
    again = new_model("aa")
    for suffix in (".safetensors", ".json"):
        shutil.move(Path(again.weights).with_suffix(suffix), Path(old.weights).with_suffix(suffix))
    new = ModelSpec(old.id, old.title, old.source, old.tasks, old.weights, again.revision)
    first, second = use(pool, old), use(pool, new)
    assert not torch.equal(first.module.head.weight, second.module.head.weight)


def test_an_error_while_a_model_is_used_gives_it_back(new_model: Callable[[str], ModelSpec]) -> None:
    spec, pool = new_model("a"), ModelPool(device="cpu")
    with pytest.raises(ZeroDivisionError), pool.use(spec):
        raise ZeroDivisionError
    assert pool.unload(spec.id)


def test_many_threads_over_too_small_a_budget(
    new_model: Callable[[str], ModelSpec], threads: ThreadPoolExecutor
) -> None:
    specs = [new_model(name) for name in "abcd"]
    mb = size_mb(specs[0])
    pool = ModelPool(budget_mb=2.5 * mb, device="cpu")
    together = threading.Barrier(8)

    def work(seed: int) -> None:
        choose = random.Random(seed)
        together.wait()
        for _ in range(25):
            spec = choose.choice(specs)
            with pool.use(spec) as model:
                assert model.spec == spec
                assert any(model is held for held in pool.loaded())
                with torch.inference_mode():
                    model.forward(torch.zeros(1, 3, 16, 16))

    for future in [threads.submit(work, seed) for seed in range(8)]:
        future.result(3 * LATE_S)
    use(pool, specs[0])
    assert sum(model.memory_mb for model in pool.loaded()) <= 2.5 * mb


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_said_plainly(error: Exception, new_model: Callable[[str], ModelSpec]) -> None:
    told = loaders._as_ours(error, new_model("a"), "cuda")
    assert str(told).startswith("file/a does not fit into the free memory of cuda. Choose a smaller model")
    assert told.__cause__ is error


@pytest.mark.parametrize(
    ("files", "free_mb"),
    [
        ({"memory.max": "1000000000\n", "memory.current": "900000000\n"}, 300.0),
        ({"memory.max": "100000000\n", "memory.current": "900000000\n"}, 0.0),
        ({"memory.max": "max\n", "memory.current": "900000000\n"}, math.inf),
        ({}, math.inf),
    ],
    ids=["limited", "over the limit", "unlimited", "no container"],
)
def test_a_container_counts_as_the_machine(
    files: dict[str, str], free_mb: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if files:
        (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000000\nactive_file 7\n")
    monkeypatch.setattr(loaders, "CGROUP", tmp_path)
    assert loaders._container_free_mb() == free_mb
    assert ModelPool(device="cpu").budget_mb <= 0.5 * free_mb
