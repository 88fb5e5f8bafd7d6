"""Segmentation leaves one run in a real store, and all that it takes to see it again."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.registry import ModelSpec, resolve
from core.runs import LOCAL_OWNER
from core.segment import Point, Prompts
from core.segment.automatic_values import AutomaticOptions
from core.segment.cache import EmbeddingCache
from core.segment.evaluate import TruthPicture
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from core.segment.label_map import label_map
from core.segment.small_sam import build_small_sam
from core.segment.workflow import (
    START,
    EverythingResult,
    SegmentResult,
    evaluate_segmenter,
    segment,
    segment_everything,
)
from core.settings import settings
from db import RunFilter, RunRecord, Store

ARGUMENTS: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "prompt_dim": 16,
    "global_blocks": [0],
}
LOW_RES = 32
EASY = AutomaticOptions(
    points_per_side=3, min_predicted_iou=0, min_stability=0, nms_iou=1.0
)  # random weights have no good masks


def card() -> Card:
    return Card(
        kind="segmentation",
        architecture=Architecture("Sam", ARGUMENTS),
        labels=(),
        input=ModelInput(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        command="python -m core train sam",
        seed=0,
        data="nothing",
        score=Score("mean IoU", 0.5, 2, "two pictures"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
        title="Tiny",
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound checkpoint and one whose answers are not finite."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    module = build_small_sam(**ARGUMENTS)
    save_checkpoint(folder / "tiny.safetensors", module, card())
    with torch.no_grad():
        next(module.mask_decoder.iou_prediction_head.parameters()).fill_(float("nan"))
    save_checkpoint(folder / "damaged.safetensors", module, card())
    return folder


@dataclass
class Bench:
    """A pool, a store and an embedding cache on it."""

    pool: ModelPool
    store: Store
    cache: EmbeddingCache
    spec: ModelSpec

    def segment(self, image: ImageInput, prompts: Prompts, **options: Any) -> SegmentResult:
        given: dict[str, Any] = {
            "pool": self.pool,
            "cache": self.cache,
            "sink": self.store,
            "owner": LOCAL_OWNER,
        } | options
        return segment(image, given.pop("spec", self.spec), prompts, **given)

    def everything(self, image: ImageInput, **options: Any) -> EverythingResult:
        given: dict[str, Any] = {
            "pool": self.pool,
            "cache": self.cache,
            "sink": self.store,
            "owner": LOCAL_OWNER,
        } | options
        return segment_everything(image, given.pop("spec", self.spec), EASY, **given)

    def run(self, run_id: str | None) -> RunRecord:
        assert run_id is not None
        return self.store.run(run_id, LOCAL_OWNER)

    def artifact(self, run_id: str | None, name: str) -> bytes:
        assert run_id is not None
        return self.store.artifact(run_id, name, LOCAL_OWNER)

    @property
    def count(self) -> int:
        return self.store.count(RunFilter())


@pytest.fixture
def bench(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(weights))
    settings.cache_clear()
    with Store.open(settings().database_url) as store:
        yield Bench(ModelPool(device="cpu"), store, EmbeddingCache(store), resolve("shipped/tiny"))


def picture(seed: int = 0) -> ImageInput:
    rgb = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return from_rgb(rgb, f"noise {seed}")


PROMPTS = Prompts((Point(20, 15), Point(50, 5, False)), (5, 6, 40, 30))


def metrics(run: RunRecord) -> dict[str, tuple[float, str]]:
    return {metric.name: (metric.value, metric.unit) for metric in run.metrics}


# One answer


def test_one_answer_is_one_run(bench: Bench) -> None:
    image = picture()
    result = bench.segment(image, PROMPTS)
    run = bench.run(result.run_id)
    assert bench.count == 1
    assert (run.kind, run.status, run.model_id) == (ANSWER, "ok", "shipped/tiny")
    assert run.model_revision == bench.spec.revision
    assert [(item.role, item.sha256) for item in run.inputs] == [("picture", image.sha256)]
    assert Prompts.from_json(run.parameters["prompts"]).to_json() == PROMPTS.to_json()
    assert run.parameters["multimask"] is True
    assert run.parameters["embedded"] == "encoded"
    assert (result.device, len(result.masks)) == ("cpu", 3)
    assert result.device_reason


def test_the_runs_numbers_are_those_of_the_answer(bench: Bench) -> None:
    result = bench.segment(picture(), PROMPTS)
    run, best = bench.run(result.run_id), result.masks.best
    found = metrics(run)
    assert found == {
        "load_ms": (result.times.load_ms, "ms"),
        "embed_ms": (result.times.embed_ms, "ms"),
        "decode_ms": (result.times.decode_ms, "ms"),
        "predicted_iou": (pytest.approx(result.masks.predicted_iou[best]), ""),
        "stability": (pytest.approx(result.masks.stability[best]), ""),
    }
    assert result.times.load_ms > 0
    assert run.duration_ms == pytest.approx(result.times.embed_ms + result.times.decode_ms, abs=0.01)


def test_the_file_is_the_mask(bench: Bench) -> None:
    result = bench.segment(picture(), PROMPTS)
    mask = np.asarray(Image.open(io.BytesIO(bench.artifact(result.run_id, "mask.png"))))
    assert np.array_equal(mask, result.masks.mask(result.masks.best) * np.uint8(255))
    assert [item.name for item in bench.run(result.run_id).artifacts] == ["mask.png"]


def test_what_an_answer_started_from_is_kept(bench: Bench) -> None:
    first = bench.segment(picture(), PROMPTS)
    start = first.masks.low_res[first.masks.best]
    second = bench.segment(picture(), replace(PROMPTS, logits=start), multimask=False)
    kept = np.load(io.BytesIO(bench.artifact(second.run_id, START)), allow_pickle=False)
    assert (kept.dtype, kept.shape) == (np.float32, (LOW_RES, LOW_RES))
    assert np.array_equal(kept, start)
    run = bench.run(second.run_id)
    assert run.parameters["multimask"] is False
    assert len(second.masks) == 1
    again = bench.segment(
        picture(), replace(Prompts.from_json(run.parameters["prompts"]), logits=kept), multimask=False
    )
    assert np.array_equal(again.masks.low_res, second.masks.low_res)


def test_the_embedding_comes_from_memory_then_from_the_store(bench: Bench) -> None:
    first = bench.segment(picture(), PROMPTS)
    second = bench.segment(picture(), PROMPTS)
    restarted = bench.segment(picture(), PROMPTS, cache=EmbeddingCache(bench.store))
    other = bench.segment(picture(1), PROMPTS)
    results = (first, second, restarted, other)
    sources = ["encoded", "memory", "store", "encoded"]
    assert [result.times.embedded for result in results] == sources
    assert [bench.run(result.run_id).parameters["embedded"] for result in results] == sources
    for result in (second, restarted):
        assert np.array_equal(result.masks.low_res, first.masks.low_res)
    assert not np.array_equal(other.masks.low_res, first.masks.low_res)


def test_without_a_store_nothing_is_left(bench: Bench) -> None:
    result = bench.segment(picture(), PROMPTS, sink=None, cache=EmbeddingCache(None))
    assert result.run_id is None
    assert bench.count == 0
    assert np.array_equal(result.masks.low_res, bench.segment(picture(), PROMPTS).masks.low_res)


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(),
        Prompts((Point(57, 3),)),
        Prompts((Point(3, 3), Point(3, 3, False))),
        Prompts(box=(5, 5, 5, 9)),
        Prompts(mask=np.ones((3, 3), np.bool_)),
        Prompts(logits=np.full((LOW_RES, LOW_RES), np.nan, np.float32)),
        Prompts(logits=np.zeros((LOW_RES + 1, LOW_RES), np.float32)),
    ],
    ids=["none", "outside", "contradiction", "no size", "mask", "not finite", "logits of another model"],
)
def test_prompts_that_cannot_be_asked_leave_nothing(bench: Bench, prompts: Prompts) -> None:
    with pytest.raises(InputError):
        bench.segment(picture(), prompts)
    assert bench.count == 0


def test_a_failure_is_a_run_too(bench: Bench) -> None:
    with pytest.raises(InputError, match="not finite"):
        bench.segment(picture(), PROMPTS, spec=resolve("shipped/damaged"))
    (summary,) = bench.store.runs(RunFilter())
    run = bench.run(summary.id)
    assert (run.kind, run.status, run.error_class) == (ANSWER, "failed", "InputError")
    assert run.error_message == "The model's output is not finite."
    assert run.parameters["prompts"] == PROMPTS.to_json()
    assert run.duration_ms is not None
    assert list(run.artifacts) == []


def test_weights_that_cannot_be_read_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    for name in ("tiny.safetensors", "tiny.json"):
        shutil.copy(settings().checkpoints / name, tmp_path / name)
    (tmp_path / "tiny.safetensors").write_bytes(b"cut short")
    with pytest.raises(InputError):
        bench.segment(picture(), PROMPTS, spec=resolve(str(tmp_path / "tiny.safetensors"), "segmentation"))
    assert bench.count == 0


# Everything


def test_everything_is_one_run(bench: Bench) -> None:
    image = picture()
    shares: list[float] = []
    result = bench.everything(image, progress=shares.append)
    run = bench.run(result.run_id)
    assert bench.count == 1
    assert (run.kind, run.status, run.inputs[0].sha256) == (EVERYTHING, "ok", image.sha256)
    assert AutomaticOptions(**run.parameters["options"]) == EASY
    found = metrics(run)
    assert set(found) == {"load_ms", "embed_ms", "decode_ms", "masks", "coverage"}
    assert found["masks"] == (len(result.masks), "")
    assert found["coverage"][0] == pytest.approx(result.coverage)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_files_of_everything_are_its_masks(bench: Bench) -> None:
    result = bench.everything(picture())
    assert len(result.masks) > 1
    coco = json.loads(bench.artifact(result.run_id, "masks.json"))
    areas = [mask.area for mask in result.masks]
    assert [item["area"] for item in coco["annotations"]] == areas
    labels = np.asarray(Image.open(io.BytesIO(bench.artifact(result.run_id, "labels.png"))))
    assert labels.shape == (40, 56)
    assert np.count_nonzero(labels) / labels.size == pytest.approx(result.coverage)
    np.testing.assert_array_equal(labels, result.labels)  # the smaller of two in front, as the page shows it
    expected, coverage = label_map(result.masks)
    np.testing.assert_array_equal(result.labels, expected)
    assert coverage == result.coverage


def test_more_masks_than_a_file_holds_are_a_run_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.segment.export.shared.MAX_OBJECTS", 1)
    result = bench.everything(picture())
    assert len(result.masks) > 1
    (kept,) = json.loads(bench.artifact(result.run_id, "masks.json"))["annotations"]
    assert kept["area"] == max(mask.area for mask in result.masks)
    labels = np.asarray(Image.open(io.BytesIO(bench.artifact(result.run_id, "labels.png"))))
    np.testing.assert_array_equal(labels, result.labels)


def test_everything_and_one_answer_share_the_embedding(bench: Bench) -> None:
    bench.segment(picture(), PROMPTS)
    result = bench.everything(picture())
    assert result.times.embedded == "memory"


def test_a_picture_without_masks_is_a_run_without_files(bench: Bench) -> None:
    strict = AutomaticOptions(points_per_side=2, min_predicted_iou=1.0)
    result = segment_everything(
        picture(), bench.spec, strict, pool=bench.pool, cache=bench.cache, sink=bench.store, owner=LOCAL_OWNER
    )
    assert (result.masks, result.coverage) == ((), 0.0)
    run = bench.run(result.run_id)
    assert list(run.artifacts) == []
    assert metrics(run)["masks"] == (0, "")


class Stopped(BaseException):
    """As Streamlit raises to end a script."""


def stop(share: float) -> None:
    raise Stopped


def test_everything_that_was_stopped_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(Stopped):
        bench.everything(picture(), progress=stop)
    assert bench.count == 0
    assert bench.everything(picture()).run_id is not None


def test_everything_that_failed_is_a_failed_run(bench: Bench) -> None:
    with pytest.raises(InputError, match="not finite"):
        bench.everything(picture(), spec=resolve("shipped/damaged"))
    (summary,) = bench.store.runs(RunFilter())
    assert (summary.kind, summary.status) == (EVERYTHING, "failed")


def test_everything_without_a_store(bench: Bench) -> None:
    assert bench.everything(picture(), sink=None).run_id is None
    assert bench.count == 0


# An evaluation


def truth(count: int = 3) -> list[TruthPicture]:
    mask = np.zeros((40, 56), np.bool_)
    mask[10:30, 15:40] = True
    return [TruthPicture(picture(n), (mask, ~mask), "uploaded") for n in range(count)]


def evaluated(bench: Bench, **options: Any) -> Any:
    given: dict[str, Any] = {"source": {"scenes": 3}, "pool": bench.pool, "sink": bench.store} | options
    return evaluate_segmenter(
        given.pop("spec", bench.spec), truth(), owner=LOCAL_OWNER, clicks=2, seed=4, **given
    )


def test_an_evaluation_is_one_run_with_its_report(bench: Bench) -> None:
    found, run_id = evaluated(bench)
    run = bench.run(run_id)
    assert bench.count == 1
    assert (run.kind, run.status, list(run.inputs)) == (EVALUATION, "ok", [])
    assert dict(run.parameters) == {"scenes": 3, "clicks": 2, "seed": 4}
    assert json.loads(bench.artifact(run_id, "evaluation.json")) == found.to_json()
    assert found.objects == 6
    stored = {name: value for name, (value, _) in metrics(run).items()}
    assert stored.pop("load_ms") > 0
    assert stored == pytest.approx(found.metrics())
    assert run.duration_ms is not None
    assert run.duration_ms > 0


def test_an_evaluation_can_be_made_again(bench: Bench) -> None:
    first, second = (evaluated(bench)[0].overall for _ in range(2))
    assert first == second
    assert evaluated(bench, sink=None)[1] is None
    assert bench.count == 2


def test_an_evaluation_that_was_stopped_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(Stopped):
        evaluated(bench, progress=stop)
    assert bench.count == 0


def test_an_evaluation_that_failed_is_a_failed_run(bench: Bench) -> None:
    with pytest.raises(InputError, match="not finite"):
        evaluated(bench, spec=resolve("shipped/damaged"))
    (summary,) = bench.store.runs(RunFilter())
    assert (summary.kind, summary.status) == (EVALUATION, "failed")
