"""The use cases end to end: the answer is the network's own, and each run stands in a real store."""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config

from core.environment import git_revision
from core.errors import InputError
from core.explain.maps import attention_row, patch_map, rollout_row
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.registry import ModelSpec, resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.workflows import attend, classify
from db import RunFilter, Store
from db.records import RunRecord

EVERYTHING = RunFilter()
ALL_LAYERS_MB = 12 * 3 * 197 * 197 * 4 / 1e6
"""Layers, heads, tokens by tokens, bytes: all attention of the model below over a square picture."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return resolve("random/vit_tiny_patch16_224")


@pytest.fixture(scope="module")
def pool() -> ModelPool:
    return ModelPool(budget_mb=1000, device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'runs.sqlite3'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def coffee() -> ImageInput:
    return load_sample("coffee")  # 600 x 400


@pytest.fixture(scope="module")
def square() -> ImageInput:
    return from_rgb(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "noise")


def timms(pool: ModelPool, spec: ModelSpec) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return timm's network with the same weights, by its explicit attention, and timm's transform."""
    with pool.use(spec) as model:
        weights = copy.deepcopy(model.module.state_dict())
    network = timm.create_model(spec.weights).eval()
    network.load_state_dict(weights)
    for block in network.blocks:
        block.attn.fused_attn = False
    return network, create_transform(**resolve_model_data_config(network), is_training=False)


def only_run(store: Store) -> RunRecord:
    (summary,) = store.runs(EVERYTHING)
    return store.run(summary.id, LOCAL_OWNER)


def check_common(run: RunRecord, spec: ModelSpec, image: ImageInput, store: Store) -> None:
    """What is true of every finished run."""
    assert (run.model_id, run.model_revision, run.status, run.owner) == (spec.id, "seed 0", "ok", LOCAL_OWNER)
    assert (run.error_class, run.error_message) == ("", "")
    (picture,) = run.inputs
    assert (picture.role, picture.name, picture.sha256) == ("picture", image.name, image.sha256)
    assert (picture.width, picture.height) == (image.width, image.height)
    assert store.picture_data(run.id, "picture", LOCAL_OWNER) == image.data, "the run can be run again"
    environment = run.environment
    assert (environment.device, environment.dtype) == ("cpu", "float32")
    assert environment.threads >= 1 and environment.device_name
    assert environment.versions["torch"] == torch.__version__.partition("+")[0]
    assert environment.versions["timm"] == timm.__version__
    assert environment.git_revision == git_revision()
    assert run.duration_ms == pytest.approx(run.metric("prepare_ms") + run.metric("model_ms"))


# Classification


def test_classes_are_those_of_timm(pool: ModelPool, spec: ModelSpec, coffee: ImageInput) -> None:
    network, transform = timms(pool, spec)
    with torch.inference_mode():
        logits = network(transform(Image.fromarray(coffee.rgb)).unsqueeze(0))
    scores, indices = logits.softmax(dim=-1)[0].topk(7)
    (result,) = classify([coffee], spec, pool=pool, sink=None, owner=LOCAL_OWNER, top=7)
    names = ImageNetInfo("imagenet-1k")
    assert [p.label for p in result.predictions] == [names.index_to_description(int(i)) for i in indices]
    np.testing.assert_allclose([p.score for p in result.predictions], scores.numpy(), rtol=1e-4)
    assert result.run_id is None


def test_each_picture_is_one_stored_run(
    pool: ModelPool, spec: ModelSpec, coffee: ImageInput, square: ImageInput, store: Store
) -> None:
    results = classify([coffee, square], spec, pool=pool, sink=store, owner=LOCAL_OWNER, top=3)
    assert store.count(EVERYTHING) == 2 and len({result.run_id for result in results}) == 2
    for image, result in zip((coffee, square), results, strict=True):
        run = store.run(result.run_id, LOCAL_OWNER)
        check_common(run, spec, image, store)
        assert run.kind == "classification" and run.parameters == {"top": 3, "fit": "crop"}
        assert run.metric("model_ms") == result.model_ms > 0
        assert run.metric("top1_score") == result.predictions[0].score
        kept = json.loads(store.artifact(run.id, "predictions.json", LOCAL_OWNER))
        assert kept == [{"label": p.label, "score": p.score} for p in result.predictions]
        assert len(kept) == 3


def test_more_classes_than_there_are_gives_them_all(
    pool: ModelPool, spec: ModelSpec, square: ImageInput
) -> None:
    (result,) = classify([square], spec, pool=pool, sink=None, owner=LOCAL_OWNER, top=5000)
    scores = [prediction.score for prediction in result.predictions]
    assert len(scores) == 1000 and scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_a_model_without_classifier_is_refused(pool: ModelPool, square: ImageInput, store: Store) -> None:
    features = resolve("random/vit_small_patch16_dinov3")
    with pytest.raises(InputError, match="no classifier") as caught:
        classify([square], features, pool=pool, sink=store, owner=LOCAL_OWNER)
    assert caught.value.remedy and store.count(EVERYTHING) == 0


@pytest.mark.parametrize("top", [0, -3])
def test_no_classes_are_refused(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, store: Store, top: int
) -> None:
    with pytest.raises(InputError, match=f"top is {top}"):
        classify([square], spec, pool=pool, sink=store, owner=LOCAL_OWNER, top=top)
    assert store.count(EVERYTHING) == 0


# Attention


def test_attention_is_that_of_timms_explicit_path(
    pool: ModelPool, spec: ModelSpec, coffee: ImageInput
) -> None:
    network, transform = timms(pool, spec)
    seen: list[torch.Tensor] = []
    for block in network.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, weights: seen.append(weights[0]))
    with torch.inference_mode():
        logits = network(transform(Image.fromarray(coffee.rgb)).unsqueeze(0))
    result = attend(coffee, spec, pool=pool, sink=None, owner=LOCAL_OWNER, fit="crop", keep_mb=100)
    assert len(seen) == 12 and result.attention.keeps_all_layers
    for layer, expected in enumerate(seen):
        np.testing.assert_allclose(result.attention.weights[layer], expected.numpy(), atol=1e-5)
    scores = logits.softmax(dim=-1)[0].topk(5).values.numpy()
    np.testing.assert_allclose([p.score for p in result.predictions], scores, rtol=1e-4)
    by_hand = seen[4][:, 1 + 3 * 14 + 5, 1:].mean(dim=0).reshape(14, 14)  # the patch in row 3, column 5
    shown = patch_map(result.attention, attention_row(result.attention, 4, "mean", (3, 5)))
    np.testing.assert_allclose(shown, by_hand.numpy(), atol=1e-5)
    assert result.attention.checks.passed and result.run_id is None


def test_a_whole_picture_keeps_its_shape(pool: ModelPool, spec: ModelSpec, coffee: ImageInput) -> None:
    result = attend(coffee, spec, pool=pool, sink=None, owner=LOCAL_OWNER)
    assert result.frame.box == (0, 0, 600, 400) and result.attention.grid == (14, 21)
    assert result.attention.weights[11].shape == (3, 1 + 14 * 21, 1 + 14 * 21)
    assert result.attention.checks.passed


def test_attention_is_one_stored_run(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, store: Store
) -> None:
    result = attend(
        square,
        spec,
        pool=pool,
        sink=store,
        owner=LOCAL_OWNER,
        layer=-2,
        head="max",
        query=(2, 3),
        rollout="min",
    )
    run = only_run(store)
    check_common(run, spec, square, store)
    assert run.id == result.run_id and run.kind == "attention"
    assert run.parameters == {
        "fit": "whole",
        "layer": 10,
        "head": "max",
        "query": [2, 3],
        "rollout": "min",
    }
    assert run.metric("row_sum_error") == result.attention.checks.row_sum_error < 1e-5
    assert run.metric("output_error") == result.attention.checks.output_error < 1e-4
    assert run.metric("model_ms") == result.model_ms > 0
    assert run.metric("top1_score") == result.predictions[0].score


def test_a_stored_attention_run_can_be_run_again(
    pool: ModelPool, spec: ModelSpec, coffee: ImageInput, store: Store
) -> None:
    """Picture, model and parameters of the row alone give the same numbers, bit by bit."""
    from core.images import decode

    first = attend(coffee, spec, pool=pool, sink=store, owner=LOCAL_OWNER, fit="crop", layer=5, rollout="max")
    run = only_run(store)
    data = store.picture_data(run.id, "picture", LOCAL_OWNER)
    asked = dict(run.parameters)
    again = attend(
        decode(data, run.inputs[0].name),
        resolve(run.model_id),
        pool=pool,
        sink=None,
        owner=LOCAL_OWNER,
        **asked,
    )
    assert np.array_equal(again.attention.weights[5], first.attention.weights[5])
    assert np.array_equal(again.attention.rollout, first.attention.rollout)
    assert again.predictions == first.predictions and again.frame == first.frame


def test_without_a_sink_nothing_is_stored(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, store: Store
) -> None:
    assert attend(square, spec, pool=pool, sink=None, owner=LOCAL_OWNER).run_id is None
    (result,) = classify([square], spec, pool=pool, sink=None, owner=LOCAL_OWNER)
    assert result.run_id is None and store.count(EVERYTHING) == 0


@pytest.mark.parametrize(
    ("keep_mb", "kept"),
    [(0.0, [7]), (ALL_LAYERS_MB - 0.01, [7]), (ALL_LAYERS_MB, list(range(12))), (1000.0, list(range(12)))],
)
def test_every_layer_is_kept_where_all_fit(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, keep_mb: float, kept: list[int]
) -> None:
    result = attend(square, spec, pool=pool, sink=None, owner=LOCAL_OWNER, layer=7, keep_mb=keep_mb)
    assert sorted(result.attention.weights) == kept
    assert sum(w.nbytes for w in result.attention.weights.values()) / 1e6 == pytest.approx(
        ALL_LAYERS_MB * len(kept) / 12
    )


def test_rollout_does_not_depend_on_what_is_kept(
    pool: ModelPool, spec: ModelSpec, square: ImageInput
) -> None:
    common = {"pool": pool, "sink": None, "owner": LOCAL_OWNER, "rollout": "max"}
    one, every = attend(square, spec, **common), attend(square, spec, **common, keep_mb=100)
    assert len(one.attention.weights) == 1 and len(every.attention.weights) == 12
    for query in ("cls", (0, 0), (13, 7)):
        np.testing.assert_allclose(
            rollout_row(one.attention, "max", query), rollout_row(every.attention, "max", query), atol=1e-6
        )


def test_loading_is_timed_apart_and_once(spec: ModelSpec, square: ImageInput, store: Store) -> None:
    fresh = ModelPool(budget_mb=1000, device="cpu")
    first, second = (attend(square, spec, pool=fresh, sink=store, owner=LOCAL_OWNER) for _ in range(2))
    assert first.load_ms > 10 * second.load_ms
    assert store.run(first.run_id, LOCAL_OWNER).metric("load_ms") == first.load_ms
    assert (first.device, first.device_reason) == ("cpu", "chosen by the configuration")


# What goes wrong


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"layer": 12}, "no layer 12"), ({"layer": -13}, "no layer -13"), ({"head": 3}, "no head 3")],
)
def test_a_part_that_the_model_lacks_is_refused_before_there_is_a_run(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, store: Store, asked: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        attend(square, spec, pool=pool, sink=store, owner=LOCAL_OWNER, **asked)
    assert store.count(EVERYTHING) == 0


def check_failed(run: RunRecord, kind: str, error: InputError) -> None:
    assert (run.kind, run.status) == (kind, "failed")
    assert (run.error_class, run.error_message) == ("InputError", error.message)
    assert run.metrics == () and run.artifacts == () and run.duration_ms >= 0
    assert len(run.inputs) == 1 and run.parameters["fit"]


def test_a_model_whose_attention_cannot_be_read_is_a_failed_run(
    spec: ModelSpec, square: ImageInput, store: Store
) -> None:
    own = ModelPool(budget_mb=1000, device="cpu")
    with own.use(spec) as model:
        model.module.blocks[3].attn.fused_attn = False
    with pytest.raises(InputError, match="cannot be read") as caught:
        attend(square, spec, pool=own, sink=store, owner=LOCAL_OWNER)
    check_failed(only_run(store), "attention", caught.value)


def test_a_picture_that_breaks_the_preparation_is_a_failed_run(
    pool: ModelPool, spec: ModelSpec, store: Store
) -> None:
    thread = from_rgb(np.zeros((2, 900, 3), np.uint8), "thread")
    with pytest.raises(InputError, match="elongated") as caught:
        classify([thread], spec, pool=pool, sink=store, owner=LOCAL_OWNER)
    check_failed(only_run(store), "classification", caught.value)
    with pytest.raises(InputError, match="elongated"):
        attend(thread, spec, pool=pool, sink=store, owner=LOCAL_OWNER, fit="crop")
    assert [run.kind for run in store.runs(EVERYTHING)] == ["attention", "classification"]
    assert {run.status for run in store.runs(EVERYTHING)} == {"failed"}


def test_a_patch_outside_of_the_grid_is_a_failed_run(
    pool: ModelPool, spec: ModelSpec, coffee: ImageInput, store: Store
) -> None:
    """Only the prepared picture says how many patches there are."""
    with pytest.raises(InputError, match="row 14, column 0") as caught:
        attend(coffee, spec, pool=pool, sink=store, owner=LOCAL_OWNER, query=(14, 0))
    check_failed(only_run(store), "attention", caught.value)
    assert only_run(store).parameters["query"] == [14, 0]


@pytest.mark.parametrize("kind", ["attention", "classification"])
def test_an_answer_that_is_not_a_number_is_a_failed_run(
    spec: ModelSpec, square: ImageInput, store: Store, kind: str
) -> None:
    own = ModelPool(budget_mb=1000, device="cpu")
    with own.use(spec) as model:
        model.module.blocks[11].mlp.fc2.weight.fill_(math.nan)
    with pytest.raises(InputError, match="not finite") as caught:
        if kind == "attention":
            attend(square, spec, pool=own, sink=store, owner=LOCAL_OWNER)
        else:
            classify([square], spec, pool=own, sink=store, owner=LOCAL_OWNER)
    assert caught.value.remedy
    check_failed(only_run(store), kind, caught.value)


def test_a_picture_that_fails_leaves_the_runs_before_it(
    pool: ModelPool, spec: ModelSpec, square: ImageInput, store: Store
) -> None:
    thread = from_rgb(np.zeros((2, 900, 3), np.uint8), "thread")
    with pytest.raises(InputError):
        classify([square, thread, square], spec, pool=pool, sink=store, owner=LOCAL_OWNER)
    assert [run.status for run in store.runs(EVERYTHING)] == ["failed", "ok"]


def test_a_fault_of_our_own_is_recorded_and_goes_on_unchanged(
    spec: ModelSpec, square: ImageInput, store: Store
) -> None:
    """A bug is no InputError: its own class is kept in the row and its traceback reaches the caller."""
    own = ModelPool(budget_mb=1000, device="cpu")
    with own.use(spec) as model:
        model.module.norm = torch.nn.LayerNorm(7)
    with pytest.raises(RuntimeError, match="normalized_shape"):
        attend(square, spec, pool=own, sink=store, owner=LOCAL_OWNER)
    run = only_run(store)
    assert (run.status, run.error_class) == (
        "failed",
        "RuntimeError",
    ) and "normalized_shape" in run.error_message
