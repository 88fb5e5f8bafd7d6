"""Embeddings are computed once and come back to the bit: from memory, from a real store, for many at once."""

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray
from safetensors.torch import load, save

from core.derived import derived_key
from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.registry import ModelSpec
from core.sealed import seal
from core.segment import Geometry, Masks, Point, Prompts, decode, embed
from core.segment.cache import FORMAT, Embedded, EmbeddingCache, from_bytes, size_mb, to_bytes
from core.segment.original import OriginalSam
from core.segment.small_sam import build_small_sam
from db import Store

ONE_MB = 16 * 8 * 8 * 4 / 1e6
"""Channels, patches by patches, bytes: an embedding of the model below."""
PROMPTS = (
    Prompts(points=(Point(10, 8),)),
    Prompts(box=(3, 4, 30, 25)),
    Prompts(points=(Point(30, 20, False),)),
)


@dataclass(frozen=True, eq=False)
class CountingSam(OriginalSam):
    """A real model that counts the pictures it encodes, and may be held up at each."""

    encoded: list[tuple[int, ...]] = field(default_factory=list)
    before: Callable[[], object] = lambda: None

    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple[torch.Tensor, ...], Geometry]:
        self.encoded.append(rgb.shape)
        self.before()
        return super().encode(rgb)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def network() -> Any:
    torch.manual_seed(0)
    module = build_small_sam(
        image_size=64, patch_size=8, dim=16, depth=1, heads=2, prompt_dim=16, global_blocks=(0,)
    )
    return module.eval().requires_grad_(False)


def small_sam(before: Callable[[], object] = lambda: None, revision: str = "1") -> CountingSam:
    return CountingSam(
        spec=ModelSpec("shipped/x", "x", "shipped", ("segmentation",), "x", revision=revision),
        module=network(),
        device="cpu",
        dtype="float32",
        load_ms=0.0,
        memory_mb=0.0,
        before=before,
    )


@pytest.fixture
def model() -> CountingSam:
    return small_sam()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite3'}") as opened:
        yield opened


@cache
def picture(seed: int) -> ImageInput:
    """Return one of many pictures, of differing sizes, 40 x 30 pixels at least."""
    size = (30 + seed % 5, 40 + seed % 7, 3)
    rgb = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return from_rgb(rgb, f"picture {seed}")


@cache
def truth(seed: int, prompt: int) -> Masks:
    """Return the answer without any cache."""
    model = small_sam()
    return decode(model, embed(model, picture(seed)), PROMPTS[prompt])


def assert_same(masks: Masks, expected: Masks) -> None:
    assert masks.geometry == expected.geometry
    assert np.array_equal(masks.low_res, expected.low_res)
    assert np.array_equal(masks.predicted_iou, expected.predicted_iou)
    for i in range(len(expected)):
        assert np.array_equal(masks.mask(i), expected.mask(i))


def name_of(model: OriginalSam, image: ImageInput) -> str:
    """Return the key of an embedding in the store."""
    return derived_key(FORMAT, image.sha256, model.spec.id, model.spec.revision, model.dtype)


# Once, and the same


def test_memory_store_and_encoder_give_the_same_to_the_bit(model: CountingSam, store: Store) -> None:
    caches = EmbeddingCache(store), EmbeddingCache(store)
    answers = [
        caches[0].get(model, picture(1)),
        caches[0].get(model, picture(1)),
        caches[1].get(model, picture(1)),
    ]
    assert [answer.source for answer in answers] == ["encoded", "memory", "store"]
    fresh = embed(small_sam(), picture(1))
    for answer in answers:
        found = answer.embedding
        assert (found.geometry, found.sha256) == (fresh.geometry, picture(1).sha256)
        assert (found.model_id, found.revision) == ("shipped/x", "1")
        for tensor, expected in zip(found.tensors, fresh.tensors, strict=True):
            assert tensor.is_inference()
            assert (tensor.dtype, tensor.stride()) == (expected.dtype, expected.stride())
            assert torch.equal(tensor.view(torch.int32), expected.view(torch.int32))
        for i, prompts in enumerate(PROMPTS):
            assert_same(decode(model, found, prompts), truth(1, i))
        assert answer.ms >= 0


def test_a_restart_encodes_nothing(store: Store) -> None:
    first = small_sam()
    before = EmbeddingCache(store)
    for seed in range(4):
        before.get(first, picture(seed))
    assert len(first.encoded) == 4
    second = small_sam()
    after = EmbeddingCache(store)
    for seed in range(4):
        found = after.get(second, picture(seed))
        assert found.source == "store"
        assert_same(decode(second, found.embedding, PROMPTS[0]), truth(seed, 0))
    assert second.encoded == []
    assert after.get(second, picture(0)).source == "memory"


def test_another_revision_dtype_model_or_picture_is_another_embedding(store: Store) -> None:
    model = small_sam()
    others = (
        replace(model, spec=replace(model.spec, revision="2")),
        replace(model, spec=replace(model.spec, id="shipped/y")),
        replace(model, dtype="bfloat16"),
    )
    cache = EmbeddingCache(store)
    for other in (model, *others):
        assert cache.get(other, picture(1)).source == "encoded"
    assert cache.get(model, picture(2)).source == "encoded"
    for other in (model, *others):
        found = cache.get(other, picture(1))
        assert found.source == "memory"
        assert (found.embedding.model_id, found.embedding.revision) == (other.spec.id, other.spec.revision)


def test_clearing_forgets_what_is_in_memory_alone(model: CountingSam, store: Store) -> None:
    alone, both = EmbeddingCache(None), EmbeddingCache(store)
    for one, source in ((alone, "encoded"), (both, "store")):
        one.get(model, picture(1))
        assert one.memory_mb == ONE_MB
        one.clear()
        assert one.memory_mb == 0
        assert one.get(model, picture(1)).source == source


def test_the_expected_time_is_that_of_the_last_encoding(store: Store) -> None:
    cache, pause_s = EmbeddingCache(store), [0.2]
    model = small_sam(before=lambda: time.sleep(pause_s[0]))
    assert cache.expected_ms("shipped/x") is None
    answer = cache.get(model, picture(1))
    expected = cache.expected_ms("shipped/x")
    assert expected is not None
    assert 200 <= expected == answer.ms
    cache.get(model, picture(1))
    assert cache.expected_ms("shipped/x") == expected  # what is found says nothing about encoding
    pause_s[0] = 0.0
    cache.get(model, picture(2))
    assert cache.expected_ms("shipped/x") != expected
    assert cache.expected_ms("shipped/y") is None


# Budgets


def test_memory_holds_the_most_recently_used(model: CountingSam) -> None:
    cache = EmbeddingCache(None, memory_mb=3.5 * ONE_MB)
    for seed in (1, 2, 3, 1, 4):  # 1 is used again before 4 needs room
        cache.get(model, picture(seed))
    assert cache.memory_mb == pytest.approx(3 * ONE_MB)
    sources = {seed: cache.get(model, picture(seed)).source for seed in (3, 1, 4, 2)}
    assert sources == {3: "memory", 1: "memory", 4: "memory", 2: "encoded"}
    assert cache.get(model, picture(3)).source == "encoded"  # 2 took its room
    assert cache.memory_mb <= 3.5 * ONE_MB


def test_what_is_larger_than_the_memory_is_not_held_and_pushes_nothing_out(model: CountingSam) -> None:
    cache = EmbeddingCache(None, memory_mb=0.9 * ONE_MB)
    assert [cache.get(model, picture(1)).source for _ in range(2)] == ["encoded", "encoded"]
    assert cache.memory_mb == 0


def test_the_store_keeps_to_its_budget(model: CountingSam, store: Store) -> None:
    file_mb = len(to_bytes(embed(model, picture(1)))) / 1e6
    cache = EmbeddingCache(store, store_mb=2.5 * file_mb)
    for seed in (1, 2, 3):
        cache.get(model, picture(seed))
        time.sleep(0.005)  # times in the store are whole milliseconds
    kept = [store.derived(name_of(model, picture(seed))) is not None for seed in (1, 2, 3)]
    assert kept == [False, True, True]
    nothing = EmbeddingCache(store, store_mb=0)
    assert nothing.get(model, picture(4)).source == "encoded"
    assert store.derived(name_of(model, picture(4))) is None


def test_a_view_counts_with_all_that_it_keeps_alive(model: CountingSam) -> None:
    embedding = embed(model, picture(1))
    whole = torch.zeros(1000)
    both = replace(embedding, tensors=(whole[:10], whole[10:20]))
    assert size_mb(both) == 1000 * 4 / 1e6


# Many at once


def test_ten_threads_with_ten_pictures_each_get_their_own(store: Store) -> None:
    everybody = threading.Barrier(10, timeout=30)
    model = small_sam(before=everybody.wait)  # no encoding ends before ten have begun
    cache = EmbeddingCache(store)

    def session(seed: int) -> list[tuple[int, int, Masks]]:
        answers = []
        for i in range(len(PROMPTS)):
            embedding = cache.get(model, picture(seed)).embedding
            assert embedding.sha256 == picture(seed).sha256
            answers.append((seed, i, decode(model, embedding, PROMPTS[i])))
        return answers

    with ThreadPoolExecutor(10) as threads:
        answers = [answer for some in threads.map(session, range(10)) for answer in some]
    assert len(model.encoded) == 10
    for seed, i, masks in answers:
        assert_same(masks, truth(seed, i))
    restarted = EmbeddingCache(store)
    for seed in range(10):
        found = restarted.get(model, picture(seed))
        assert found.source == "store"
        assert_same(decode(model, found.embedding, PROMPTS[0]), truth(seed, 0))


def wait_until_others_wait(cache: EmbeddingCache, requests: int) -> None:
    """Return when this many requests wait for the one encoding that is going on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if sum(_waiters(pending) for pending in cache._pending.values()) == requests:
            return
        time.sleep(0.002)
    raise AssertionError("nobody waits")


def _waiters(pending: Future[Embedded]) -> int:
    return len(pending._condition._waiters)  # type: ignore[attr-defined]


def test_requests_for_the_same_wait_for_one_encoding(store: Store) -> None:
    cache = EmbeddingCache(store)
    model = small_sam(before=lambda: wait_until_others_wait(cache, 7))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: cache.get(model, picture(1)), range(8)))
    assert len(model.encoded) == 1
    assert {answer.source for answer in answers} == {"encoded"}
    assert len({id(answer.embedding) for answer in answers}) == 1


def test_an_error_reaches_everybody_who_waits_and_is_forgotten(store: Store) -> None:
    cache = EmbeddingCache(store)
    broken = [True]

    def fail() -> None:
        if broken[0]:
            wait_until_others_wait(cache, 4)
            raise InputError("It broke.", "Try again.")

    model = small_sam(before=fail)
    with ThreadPoolExecutor(5) as threads:
        requests = [threads.submit(cache.get, model, picture(1)) for _ in range(5)]
        for request in requests:
            with pytest.raises(InputError, match="It broke"):
                request.result()
    assert len(model.encoded) == 1
    assert cache.expected_ms("shipped/x") is None
    broken[0] = False
    assert cache.get(model, picture(1)).source == "encoded"
    assert cache.get(model, picture(1)).source == "memory"


def test_a_slow_picture_does_not_hold_up_another(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stop_first() -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)

    cache, model = EmbeddingCache(store), small_sam(before=stop_first)
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(cache.get, model, picture(1))
        assert begun.wait(30)
        assert cache.get(model, picture(2)).source == "encoded"
        assert cache.get(model, picture(2)).source == "memory"
        assert cache.memory_mb == ONE_MB
        assert not slow.done()
        go_on.set()
        assert slow.result().source == "encoded"


class Sessions(RuleBasedStateMachine):
    """People who open pictures and point at them, in any order, over small budgets and restarts."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open(f"sqlite:///{self.folder / 'store.sqlite3'}")
        self.model = small_sam()
        self.opened: dict[str, tuple[int, Embedded]] = {}
        self.restart()

    @rule()
    def restart(self) -> None:
        self.cache = EmbeddingCache(self.store, memory_mb=2.5 * ONE_MB, store_mb=4 * ONE_MB)

    @rule()
    def clear(self) -> None:
        self.cache.clear()

    @rule(session=st.sampled_from("abc"), seed=st.integers(0, 5))
    def open(self, session: str, seed: int) -> None:
        before = len(self.model.encoded)
        found = self.cache.get(self.model, picture(seed))
        assert found.embedding.sha256 == picture(seed).sha256
        assert len(self.model.encoded) - before == (found.source == "encoded")
        self.opened[session] = seed, found

    @rule(session=st.sampled_from("abc"), prompt=st.integers(0, len(PROMPTS) - 1))
    def point(self, session: str, prompt: int) -> None:
        if session in self.opened:
            seed, found = self.opened[session]
            assert_same(decode(self.model, found.embedding, PROMPTS[prompt]), truth(seed, prompt))

    @invariant()
    def keeps_to_its_budget(self) -> None:
        assert self.cache.memory_mb <= 2.5 * ONE_MB

    def teardown(self) -> None:
        self.store.close()


def test_sessions_in_any_order_get_their_own_masks(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class InFolder(Sessions):
        folder = tmp_path

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        InFolder, settings=settings(max_examples=30, stateful_step_count=30, deadline=None)
    )


SCHEDULES = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=4), min_size=2, max_size=5
)


@settings(max_examples=30, deadline=None)
@given(SCHEDULES)
def test_threads_in_any_order_get_their_own_masks(schedules: list[list[tuple[int, int]]]) -> None:
    cache, model = EmbeddingCache(None, memory_mb=2.5 * ONE_MB), small_sam()

    def session(schedule: list[tuple[int, int]]) -> list[Masks]:
        return [
            decode(model, cache.get(model, picture(seed)).embedding, PROMPTS[prompt])
            for seed, prompt in schedule
        ]

    with ThreadPoolExecutor(len(schedules)) as threads:
        for schedule, answers in zip(schedules, threads.map(session, schedules), strict=True):
            for (seed, prompt), masks in zip(schedule, answers, strict=True):
                assert_same(masks, truth(seed, prompt))


# As bytes


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor's values in the order of its dimensions."""
    return tensor.flatten().contiguous().view(torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_come_back_as_they_lay(model: CountingSam, dtype: torch.dtype) -> None:
    base = torch.randn(1, 6, 5, 4).to(dtype)
    base[0, 0, 0, :2] = torch.tensor([float("inf"), -0.0])
    whole = [base.permute(order) for order in itertools.permutations(range(4))]  # more than ten: "10" < "2"
    views = [base[0], base[:, :2], base[..., 1], base.expand(3, 6, 5, 4)]  # of these the values alone
    embedding = replace(embed(model, picture(1)), tensors=(*whole, *views))
    found = from_bytes(to_bytes(embedding), model, picture(1))
    assert found is not None
    for tensor, expected in zip(found.tensors, (*whole, *views), strict=True):
        assert (tensor.dtype, tensor.shape) == (dtype, expected.shape)
        assert torch.equal(bits(tensor), bits(expected))
    for tensor, expected in zip(found.tensors[: len(whole)], whole, strict=True):
        strides = [(tensor.stride(d), expected.stride(d)) for d in range(4) if expected.shape[d] > 1]
        assert all(mine == other for mine, other in strides)


def test_the_file_is_one_of_safetensors(model: CountingSam) -> None:
    embedding = embed(model, picture(1))
    named = load(to_bytes(embedding))
    assert list(named) == ["0"]
    assert torch.equal(named["0"], embedding.tensors[0])


def test_bytes_of_another_picture_or_model_are_not_taken(model: CountingSam) -> None:
    data = to_bytes(embed(model, picture(0)))
    assert from_bytes(data, model, picture(0)) is not None
    assert from_bytes(data, model, picture(1)) is None  # of another size
    bigger = build_small_sam(
        image_size=128, patch_size=16, dim=16, depth=1, heads=2, prompt_dim=16, global_blocks=(0,)
    )
    assert from_bytes(data, replace(model, module=bigger), picture(0)) is None


@cache
def sound() -> bytes:
    return to_bytes(embed(small_sam(), picture(1)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damaged_byte_goes_unseen(data: st.DataObject) -> None:
    position = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(sound()) - 1)))
    damaged = bytearray(sound())
    damaged[position] ^= data.draw(st.integers(1, 255))
    found = from_bytes(bytes(damaged), small_sam(), picture(1))
    if found is not None:  # a byte that says nothing, such as a space behind the header
        intact = from_bytes(sound(), small_sam(), picture(1))
        assert intact is not None
        assert found.geometry == intact.geometry
        assert torch.equal(found.tensors[0], intact.tensors[0])


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.integers(1, 4000).map(lambda n: sound()[:-n])))
def test_other_bytes_and_the_beginnings_of_sound_ones_are_nothing(data: bytes) -> None:
    assert from_bytes(data, small_sam(), picture(1)) is None


def forged(layout: object, tensors: dict[str, torch.Tensor] | None = None) -> bytes:
    """Return a file whose digest is right, whatever it says."""
    named = {"0": torch.zeros(1, 16, 8, 8)} if tensors is None else tensors
    return seal(save, named, layout if isinstance(layout, str) else json.dumps(layout))


RIGHT = {"original": [31, 41], "resized": [48, 64], "side": 64, "orders": [[0, 1, 2, 3]]}


@pytest.mark.parametrize(
    "data",
    [
        save({"0": torch.zeros(3)}),
        save({"0": torch.zeros(3)}, {"layout": "{}"}),
        (2).to_bytes(8, "little") + b"{}",
        forged("no JSON"),
        forged("[" * 100_000),
        forged([]),
        forged({}),
        forged(RIGHT | {"original": [31, 42]}),
        forged(RIGHT | {"side": 63}),
        forged(RIGHT | {"resized": [0, 64]}),
        forged(RIGHT | {"resized": [48, 65]}),
        forged(RIGHT | {"resized": ["48", 64]}),
        forged(RIGHT | {"resized": [48.5, 64]}),
        forged(RIGHT | {"resized": None}),
        forged(RIGHT | {"orders": []}),
        forged(RIGHT | {"orders": [None]}),
        forged(RIGHT | {"orders": [[]]}),
        forged(RIGHT | {"orders": [[0, 0, 0, 0]]}, {"0": torch.zeros(3)}),
        forged(RIGHT | {"orders": [[0, "1", 2, 3]]}),
        forged(RIGHT | {"orders": [[0, 1, 2, 3]] * 2}),
        forged(RIGHT, {}),
        forged(RIGHT | {"orders": []}, {}),
        forged(RIGHT, {"1": torch.zeros(3)}),
    ],
)
def test_hostile_bytes_are_nothing(data: bytes) -> None:
    assert from_bytes(forged(RIGHT), small_sam(), picture(1)) is not None
    assert from_bytes(data, small_sam(), picture(1)) is None


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"", lambda data: data[:300] + bytes(9)]
)
def test_what_was_damaged_in_the_store_is_computed_again_and_mended(
    model: CountingSam, store: Store, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    EmbeddingCache(store).get(model, picture(1))
    name = name_of(model, picture(1))
    good = store.derived(name)
    assert good is not None
    store.keep_derived(name, change(good), 1)
    with caplog.at_level(logging.WARNING, "core.segment.cache"):
        found = EmbeddingCache(store).get(model, picture(1))
    assert "computed again" in caplog.text
    assert found.source == "encoded"
    assert_same(decode(model, found.embedding, PROMPTS[0]), truth(1, 0))
    assert EmbeddingCache(store).get(model, picture(1)).source == "store"


# A failing store


def test_a_store_that_fails_costs_an_encoding_and_no_more(
    model: CountingSam, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.sqlite3"
    with Store.open(f"sqlite:///{path}") as store:
        with store._database.write() as connection:
            connection.exec_driver_sql("DROP TABLE derived")
        cache = EmbeddingCache(store)
        found = cache.get(model, picture(1))
        assert found.source == "encoded"
        assert_same(decode(model, found.embedding, PROMPTS[0]), truth(1, 0))
        assert cache.get(model, picture(1)).source == "memory"
    assert "cannot be read from the store" in caplog.text
    assert "cannot be kept in the store" in caplog.text


def test_a_store_that_may_not_be_written_still_serves(model: CountingSam, store: Store) -> None:
    EmbeddingCache(store).get(model, picture(1))
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    cache = EmbeddingCache(store)
    assert cache.get(model, picture(1)).source == "store"
    assert cache.get(model, picture(2)).source == "encoded"
