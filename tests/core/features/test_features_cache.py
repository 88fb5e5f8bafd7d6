"""Features are computed once and come back to the bit: from memory, from a real store, for many at once."""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.derived import derived_key
from core.errors import InputError
from core.features.cache import FORMAT, FeatureCache, from_bytes, revision_of, to_bytes
from core.features.extract import extract
from core.features.values import FACETS, FeatureOptions, ImageFeatures
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.preprocess import Frame
from core.registry import ModelSpec, resolve
from core.sealed import seal
from db import Store

ARGUMENTS: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_classes": 2,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 32,
}
PLAIN = FeatureOptions()
ONE_MB = (4 * 4 * 16 + 16) * 2 / 1e6
"""Features of a square picture by the model below."""


def save_vit(path: Path, seed: int = 0, damaged: bool = False) -> None:
    torch.manual_seed(seed)
    module = VisionTransformer(**ARGUMENTS)
    if damaged:
        with torch.no_grad():
            module.norm.weight.fill_(float("nan"))
    card = Card(
        kind="classification",
        architecture=Architecture("VisionTransformer", ARGUMENTS),
        labels=("a", "b"),
        input=ModelInput(32, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        command="none",
        seed=seed,
        data="nothing",
        score=Score("accuracy", 0.5, 2, "none"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
    )
    save_checkpoint(path, module, card)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_vit(path)
    return resolve(str(path))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite3'}") as opened:
        yield opened


@dataclass
class Passes:
    """A pool whose model counts the pictures of each pass, and may be held up in it."""

    pool: ModelPool
    batches: list[int]
    before: Callable[[], object] = lambda: None


def counting(spec: ModelSpec, pool: ModelPool) -> Passes:
    passes = Passes(pool, [])

    def count(module: Any, arguments: tuple[torch.Tensor]) -> None:
        passes.before()
        passes.batches.append(len(arguments[0]))

    with pool.use(spec) as model:
        model.module.patch_embed.register_forward_pre_hook(count)  # type: ignore[union-attr]
    return passes


@pytest.fixture
def passes(spec: ModelSpec) -> Passes:
    return counting(spec, new_pool())


def new_pool() -> ModelPool:
    return ModelPool(budget_mb=100, device="cpu")


@cache
def picture(seed: int, height: int = 40, width: int = 40) -> ImageInput:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return from_rgb(rgb, f"picture {seed}")


def assert_same(found: ImageFeatures, expected: ImageFeatures) -> None:
    assert found.patches.tobytes() == expected.patches.tobytes()
    assert found.patches.shape == expected.patches.shape
    assert (found.cls is None) == (expected.cls is None)
    if found.cls is not None and expected.cls is not None:
        assert found.cls.tobytes() == expected.cls.tobytes()
    assert (found.frame, found.sha256, found.options) == (expected.frame, expected.sha256, expected.options)
    assert (found.model_id, found.revision) == (expected.model_id, expected.revision)


def name_of(spec: ModelSpec, image: ImageInput, options: FeatureOptions = PLAIN) -> str:
    """Return the key of features in the store."""
    return derived_key(
        FORMAT, image.sha256, spec.id, spec.revision, json.dumps(options.as_json(), sort_keys=True)
    )


# Once, and the same


def test_memory_store_and_model_give_the_same_to_the_bit(spec: ModelSpec, store: Store) -> None:
    first, idle = FeatureCache(store), new_pool()
    answers = [
        first.get(spec, picture(1), PLAIN, new_pool()),
        first.get(spec, picture(1), PLAIN, idle),
        FeatureCache(store).get(spec, picture(1), PLAIN, idle),
    ]
    assert [answer.source for answer in answers] == ["computed", "memory", "store"]
    assert idle.loaded() == ()  # what is found loads no model
    with new_pool().use(spec) as model:
        (fresh,) = extract(model, [picture(1)])
    for answer in answers:
        assert_same(answer.features, fresh)
        assert not answer.features.patches.flags.writeable
    computed, held, kept = answers
    assert computed.ms >= computed.model_ms > 0
    assert computed.load_ms > 0
    assert held.load_ms == held.model_ms == kept.load_ms == kept.model_ms == 0
    assert first.expected_ms(spec.id) == computed.ms
    assert first.expected_ms("another") is None


def test_other_options_pictures_models_and_revisions_are_other_features(
    spec: ModelSpec, passes: Passes, store: Store
) -> None:
    cache = FeatureCache(store)
    every = [
        PLAIN,
        FeatureOptions(layer=0),
        FeatureOptions(facet="key"),
        FeatureOptions(stride=4),
        FeatureOptions(size=48),
    ]
    for options in every:
        assert cache.get(spec, picture(1), options, passes.pool).source == "computed"
    assert cache.get(spec, picture(2), PLAIN, passes.pool).source == "computed"
    others = [replace(spec, revision="of tomorrow"), replace(spec, id="file/another")]
    for other in others:
        found = cache.get(other, picture(1), PLAIN, new_pool())
        assert found.source == "computed"
        assert (found.features.model_id, found.features.revision) == (other.id, other.revision)
    for options in every:
        found = FeatureCache(store).get(spec, picture(1), options, passes.pool)
        assert found.source == "store"
        assert found.features.options == options
    assert passes.batches == [1] * 6


def test_new_weights_at_the_same_place_are_another_revision(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "mine.safetensors"
    found = []
    for seed in (1, 2):
        save_vit(path, seed)
        os.utime(path, ns=(seed, seed))
        found.append(FeatureCache(store).get(resolve(str(path)), picture(1), PLAIN, new_pool()))
    assert [one.source for one in found] == ["computed", "computed"]
    assert found[0].features.revision != found[1].features.revision
    assert not np.array_equal(found[0].features.patches, found[1].features.patches)


def test_a_branch_of_the_hub_is_the_commit_that_is_here(store: Store) -> None:
    """The hub's cache on this disk, in its own layout; the branch moves to another commit meanwhile."""
    from transformers import Dinov2Config, Dinov2Model

    repository = Path(os.environ["HF_HOME"]) / "hub" / "models--somebody--dino"
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )

    def fetched(commit: str) -> None:
        torch.manual_seed(int(commit[0]))
        Dinov2Model(config).save_pretrained(repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)

    spec, pool = resolve("hf/somebody/dino"), new_pool()
    fetched("1" * 40)
    before = FeatureCache(store).get(spec, picture(1), PLAIN, pool)
    fetched("2" * 40)
    assert revision_of(spec, pool) == "1" * 12  # the pool still has these
    assert FeatureCache(store).get(spec, picture(1), PLAIN, pool).source == "store"
    after = FeatureCache(store).get(spec, picture(1), PLAIN, new_pool())
    assert [before.source, after.source] == ["computed", "computed"]
    assert [before.features.revision, after.features.revision] == ["1" * 12, "2" * 12]
    assert not np.array_equal(before.features.patches, after.features.patches)


# Many pictures


def test_of_many_only_those_missing_run_and_in_batches(spec: ModelSpec, passes: Passes, store: Store) -> None:
    cache = FeatureCache(store)
    cache.get(spec, picture(1), PLAIN, passes.pool)
    images = [picture(seed) for seed in (0, 1, 2, 1, 0, 3)] + [picture(4, 40, 80)]
    told: list[tuple[int, int]] = []
    found = cache.get_many(spec, images, PLAIN, passes.pool, lambda *done: told.append(done))
    assert passes.batches == [1, 3, 1]
    assert told == [(n, 5) for n in range(1, 6)]
    computed, memory = "computed", "memory"
    assert [one.source for one in found] == [computed, memory, computed, memory, computed, computed, computed]
    for one, image in zip(found, images, strict=True):
        assert one.features.sha256 == image.sha256
    with passes.pool.use(spec) as model:
        for one, expected in zip(found, extract(model, images), strict=True):
            np.testing.assert_allclose(one.features.patches, expected.patches, atol=2e-3)
    assert cache.get_many(spec, [], PLAIN, passes.pool) == ()
    again = FeatureCache(store).get_many(spec, images, PLAIN, new_pool())
    assert {one.source for one in again} == {"store"}


def test_ending_a_work_keeps_what_it_did_and_lets_others_do_the_rest(
    spec: ModelSpec, passes: Passes, store: Store
) -> None:
    cache, images = FeatureCache(store), [picture(seed) for seed in range(20)]  # a batch of 16, one of 4
    waits, others = threading.Event(), []

    def end(done: int, of: int) -> None:
        if done == 16:
            other = threading.Thread(
                target=lambda: others.append(cache.get(spec, images[19], PLAIN, passes.pool))
            )
            other.start()
            while not cache._pending[(images[19].sha256, spec.id, spec.revision, PLAIN)]._condition._waiters:  # type: ignore[attr-defined]
                waits.wait(0.002)
            threads.append(other)
            raise InterruptedError

    threads: list[threading.Thread] = []
    with pytest.raises(InterruptedError):
        cache.get_many(spec, images, PLAIN, passes.pool, end)
    threads[0].join(timeout=20)
    assert [one.source for one in others] == ["computed"]  # not the error of somebody else
    found = cache.get_many(spec, images, PLAIN, passes.pool)
    assert [one.source for one in found] == ["memory"] * 16 + ["computed"] * 3 + ["memory"]
    assert cache._pending == {}


def test_requests_that_overlap_compute_each_picture_once(spec: ModelSpec, passes: Passes) -> None:
    cache, start = FeatureCache(None), threading.Barrier(6, timeout=20)

    def ask(first: int) -> list[str]:
        start.wait()
        images = [picture((first + i) % 8) for i in range(6)]
        found = cache.get_many(spec, images, PLAIN, passes.pool)
        assert [one.features.sha256 for one in found] == [image.sha256 for image in images]
        return [one.source for one in found]

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    assert sum(passes.batches) == 8


def test_requests_for_the_same_wait_for_one_pass(spec: ModelSpec, passes: Passes) -> None:
    cache = FeatureCache(None)

    def until_others_wait() -> None:
        (pending,) = cache._pending.values()
        while len(pending._condition._waiters) < 4:  # type: ignore[attr-defined]
            threading.Event().wait(0.002)

    passes.before = until_others_wait
    with ThreadPoolExecutor(5) as threads:
        found = list(threads.map(lambda _: cache.get(spec, picture(1), PLAIN, passes.pool), range(5)))
    assert passes.batches == [1]
    assert len({id(one.features) for one in found}) == 1
    assert sorted(one.model_ms > 0 for one in found) == [False] * 4 + [True]


def test_memory_holds_the_most_recently_used(spec: ModelSpec, passes: Passes) -> None:
    cache = FeatureCache(None, memory_mb=2.5 * ONE_MB)
    for seed in (1, 2, 1, 3):
        cache.get(spec, picture(seed), PLAIN, passes.pool)
    assert cache.memory_mb == pytest.approx(2 * ONE_MB)
    assert [cache.get(spec, picture(seed), PLAIN, passes.pool).source for seed in (1, 3, 2)] == [
        "memory",
        "memory",
        "computed",
    ]


def test_features_that_are_no_answer_are_kept_nowhere(tmp_path: Path, store: Store) -> None:
    save_vit(tmp_path / "damaged.safetensors", damaged=True)
    spec, cache = resolve(str(tmp_path / "damaged.safetensors")), FeatureCache(store)
    for _ in range(2):
        with pytest.raises(InputError, match="are not finite"):
            cache.get_many(spec, [picture(1), picture(2)], PLAIN, new_pool())
    assert cache.memory_mb == 0
    assert store.derived(name_of(spec, picture(1))) is None


# As bytes


@st.composite
def any_features(draw: st.DrawFn) -> ImageFeatures:
    rows, columns, dim = draw(st.tuples(*[st.integers(1, 5)] * 3))
    values = st.floats(width=16, allow_nan=False, allow_infinity=False)
    tokens = draw(arrays(np.float16, (1 + rows * columns, dim), elements=values))
    corner = st.floats(-1e4, 1e4)
    options = FeatureOptions(
        draw(st.integers(-50, 50)),
        draw(st.sampled_from(FACETS)),
        draw(st.none() | st.integers(1, 16)),
        draw(st.none() | st.integers(1, 4096)),
    )
    return ImageFeatures(
        patches=tokens[1:].reshape(rows, columns, dim),
        cls=draw(st.sampled_from([None, tokens[0]])),
        frame=Frame(draw(st.tuples(corner, corner, corner, corner)), (rows, columns)),
        sha256="0" * 64,
        model_id=draw(st.text()),
        revision=draw(st.text()),
        options=options,
    )


@settings(max_examples=60, deadline=None)
@given(any_features())
def test_features_come_back_as_they_were(features: ImageFeatures) -> None:
    key = (features.sha256, features.model_id, features.revision, features.options)
    found = from_bytes(key, to_bytes(features))
    assert found is not None
    assert_same(found, features)
    assert from_bytes((*key[:2], features.revision + "x", key[3]), to_bytes(features)) is None
    assert from_bytes(("1" * 64, *key[1:]), to_bytes(features)) is None
    other = replace(features.options, layer=features.options.layer + 1)
    assert from_bytes((*key[:3], other), to_bytes(features)) is None


def some_features() -> ImageFeatures:
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float16)
    return ImageFeatures(
        values, values[0, 0].copy(), Frame((0, 0, 30, 20), (2, 3)), "0" * 64, "m", "r", PLAIN
    )


SOUND = to_bytes(some_features())
KEY = ("0" * 64, "m", "r", PLAIN)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255))
def test_no_damaged_byte_goes_unseen(position: int, change: int) -> None:
    damaged = bytearray(SOUND)
    damaged[position] ^= change
    found = from_bytes(KEY, bytes(damaged))
    if found is not None:  # a byte that says nothing, such as a space behind the header
        assert_same(found, some_features())


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": [3, 2]},
        {"grid": None},
        {"box": [0, 0, 30]},
        {"box": "0000x"},
        {"options": {}},
        {"sha256": 0},
    ],
)
def test_forged_layouts_are_nothing(changes: dict[str, Any]) -> None:
    tensors = load(SOUND)
    metadata = json.loads(SOUND[8 : 8 + int.from_bytes(SOUND[:8], "little")])["__metadata__"]
    layout = json.loads(metadata["layout"])
    assert from_bytes(KEY, seal(save, tensors, json.dumps(layout))) is not None
    assert from_bytes(KEY, seal(save, tensors, json.dumps(layout | changes))) is None
    wide = tensors | {"patches": tensors["patches"].astype(np.float32)}
    assert from_bytes(KEY, seal(save, wide, json.dumps(layout))) is None
    assert from_bytes(KEY, seal(save, {"cls": tensors["cls"]}, json.dumps(layout))) is None


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: SOUND])
def test_what_was_damaged_in_the_store_is_computed_again_and_mended(
    spec: ModelSpec,
    passes: Passes,
    store: Store,
    change: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cut, emptied, or the sound file of another picture."""
    good = FeatureCache(store).get(spec, picture(1), PLAIN, passes.pool).features
    name = name_of(spec, picture(1))
    data = store.derived(name)
    assert data is not None
    store.keep_derived(name, change(data), 1)
    with caplog.at_level(logging.WARNING):
        found = FeatureCache(store).get(spec, picture(1), PLAIN, passes.pool)
    assert "computed again" in caplog.text
    assert found.source == "computed"
    assert_same(found.features, good)
    assert FeatureCache(store).get(spec, picture(1), PLAIN, passes.pool).source == "store"


def test_a_store_that_fails_costs_a_pass_and_no_more(
    spec: ModelSpec, passes: Passes, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE derived")
    cache = FeatureCache(store)
    assert cache.get(spec, picture(1), PLAIN, passes.pool).source == "computed"
    assert cache.get(spec, picture(1), PLAIN, passes.pool).source == "memory"
    assert "A picture's features cannot be read from the store" in caplog.text
    assert "A picture's features cannot be kept in the store" in caplog.text
