"""Two pictures compared, and matches scored: the numbers, and the run in a real store."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError
from core.features.cache import FeatureCache
from core.features.export import COLUMNS, matches_csv, matches_json, matrix_npy
from core.features.kinds import EVALUATION, SIMILARITY
from core.features.matching import Match, ask
from core.features.pck import score_pairs
from core.features.query import PatchQuery
from core.features.similarity import similarity_matrix
from core.features.unrelated import gather
from core.features.values import FeatureOptions
from core.features.workflow import SimilarResult, evaluate_similarity, similar
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.registry import ModelSpec, resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.scenes import generate_pair
from core.settings import settings
from db import RunFilter, RunRecord, Store

ARGUMENTS: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "num_classes": 0,
    "dim": 24,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 48,
}
CARD = Card(
    kind="features",
    architecture=Architecture("VisionTransformer", ARGUMENTS),
    labels=(),
    input=ModelInput(64, 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    command="none",
    seed=0,
    data="nothing",
    score=Score("none", 0.0, 1, "untrained"),
    date="2026-01-31",
    duration_s=0.0,
    licence="MIT",
)
QUERY = PatchQuery(((3, 4),))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoints folder with a small model."""
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(tmp_path))
    settings.cache_clear()
    for pool, name in (("cls", "small"), ("mean", "no-cls")):
        card = CARD if pool == "cls" else Card(**fields(CARD) | {"architecture": arguments(pool=pool)})
        save_checkpoint(
            tmp_path / f"{name}.safetensors", VisionTransformer(**card.architecture.arguments), card
        )
    return tmp_path


def fields(card: Card) -> dict[str, Any]:
    return {name: getattr(card, name) for name in Card.__dataclass_fields__}


def arguments(**more: Any) -> Architecture:
    return Architecture("VisionTransformer", ARGUMENTS | more)


@pytest.fixture
def spec(folder: Path) -> ModelSpec:
    return resolve("shipped/small")


@pytest.fixture
def pool() -> ModelPool:
    return ModelPool(budget_mb=500, device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'runs.sqlite3'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def views() -> tuple[ImageInput, ImageInput]:
    pair = generate_pair(1)
    return from_rgb(pair.first.rgb, "first"), from_rgb(pair.second[:, :160], "second")


def only_run(store: Store) -> RunRecord:
    (summary,) = store.runs(RunFilter())
    return store.run(summary.id, LOCAL_OWNER)


def artifact_of(store: Store, run: RunRecord, name: str) -> Any:
    return json.loads(store.artifact(run.id, name, LOCAL_OWNER))


def compare(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store | None, **more: Any
) -> SimilarResult:
    cache = FeatureCache(store)
    return similar(*views, spec, cache=cache, pool=pool, sink=store, owner=LOCAL_OWNER, **more)


def test_a_comparison_is_one_run(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store
) -> None:
    result = compare(views, spec, pool, store, query=QUERY, matches_n=5)
    assert (result.first.grid, result.second.grid) == ((8, 8), (11, 8))
    assert result.answer is not None
    expected = ask(QUERY, result.first, result.second)
    assert np.array_equal(result.answer.cross_map, expected.cross_map)
    assert result.answer.match == expected.match
    assert len(result.matches) == 5
    run = only_run(store)
    assert (run.id, run.kind, run.status) == (result.run_id, SIMILARITY, "ok")
    assert (run.model_id, run.model_revision) == ("shipped/small", spec.revision)
    assert [(picture.role, picture.sha256) for picture in run.inputs] == [
        ("first", views[0].sha256),
        ("second", views[1].sha256),
    ]
    assert run.parameters["query"] == {"include": [[3, 4]], "exclude": []}
    assert FeatureOptions(**run.parameters["options"]) == FeatureOptions()
    assert (run.parameters["matches"], run.parameters["apart"]) == (5, False)
    assert run.parameters["features"] == ["computed", "computed"]
    assert run.metric("cls_similarity") == result.similarity.cls
    assert run.metric("global_similarity") == result.similarity.mean
    assert run.metric("best_buddies") == result.similarity.best_buddies
    assert run.metric("query_score") == result.answer.match.score
    assert result.times.model_ms > 0 and result.times.load_ms > 0 and result.times.similarity_ms > 0
    kept = artifact_of(store, run, "matches.json")
    assert kept["matches"] == [json.loads(json.dumps(match.as_json())) for match in result.matches]
    assert kept["query"] == json.loads(json.dumps(result.answer.match.as_json()))


def test_the_second_time_no_model_is_loaded(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store, folder: Path
) -> None:
    once = compare(views, spec, pool, store, matches_n=3)
    (folder / "small.safetensors").unlink()
    empty = ModelPool(budget_mb=500, device="cpu")
    again = compare(views, spec, empty, store, matches_n=3)
    assert empty.loaded() == ()
    assert (again.times.load_ms, again.times.model_ms, again.times.sources) == (0, 0, ("store", "store"))
    assert again.matches == once.matches
    assert again.similarity == once.similarity


def test_unrelated_pictures_give_percentiles(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool
) -> None:
    cache = FeatureCache(None)
    seen: list[tuple[int, int]] = []
    unrelated = gather(
        spec, FeatureOptions(), cache=cache, pool=pool, progress=lambda done, of: seen.append((done, of))
    )
    assert seen[-1] == (16, 16)
    assert unrelated.n == 16 * 64
    result = similar(
        *views, spec, cache=cache, pool=pool, sink=None, owner="me", query=QUERY, unrelated=unrelated
    )
    assert {name: at.n for name, at in result.standings.items()} == {
        "cls": 120,
        "mean": 120,
        "best_buddies": 32,
    }
    assert result.answer is not None
    for match in (*result.matches, result.answer.match):
        assert match.unrelated_percentile is not None and 0 <= match.unrelated_percentile <= 100
    chelsea = load_sample("chelsea")  # is in the set, and not held against itself
    own = similar(chelsea, views[1], spec, cache=cache, pool=pool, sink=None, owner="me", unrelated=unrelated)
    assert {name: at.n for name, at in own.standings.items()} == {"cls": 105, "mean": 105, "best_buddies": 28}


def test_a_picture_against_itself(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool
) -> None:
    own = (views[0], views[0])
    plain = compare(own, spec, pool, None, query=QUERY)
    assert (plain.similarity.cls, plain.similarity.mean) == pytest.approx((1, 1), abs=1e-6)
    assert plain.similarity.best_buddies == 1
    assert plain.answer is not None
    assert plain.answer.match.second == plain.answer.match.first == (3, 4)
    assert all(match.first == match.second for match in plain.matches)
    apart = compare(own, spec, pool, None, query=QUERY, apart=True)
    assert apart.similarity == plain.similarity
    assert apart.answer is not None
    for match in (*apart.matches, apart.answer.match):
        assert max(abs(a - b) for a, b in zip(match.first, match.second, strict=True)) > 1
    with pytest.raises(InputError, match="Only within one picture"):
        compare(views, spec, pool, None, apart=True)


def test_a_model_without_cls(
    views: tuple[ImageInput, ImageInput], folder: Path, pool: ModelPool, store: Store
) -> None:
    result = compare(views, resolve("shipped/no-cls"), pool, store)
    assert result.similarity.cls is None
    assert "cls_similarity" not in {metric.name for metric in only_run(store).metrics}


def test_a_picture_of_one_colour_is_said(spec: ModelSpec, pool: ModelPool) -> None:
    grey = from_rgb(np.full((50, 70, 3), 90, np.uint8), "grey.png")
    result = compare((grey, grey), spec, pool, None, query=PatchQuery(((0, 0),)))
    assert result.notes[0].startswith("grey.png is of one colour")
    assert len([note for note in result.notes if "one colour" in note]) == 1
    assert result.answer is not None
    assert np.isfinite(result.answer.cross_map).all()
    assert np.isfinite([result.similarity.mean, result.similarity.best_buddies]).all()


@pytest.mark.parametrize("size", [(3, 5), (40, 400), (300, 20)])
def test_pictures_of_any_size(size: tuple[int, int], spec: ModelSpec, pool: ModelPool) -> None:
    rng = np.random.default_rng(0)
    odd = from_rgb(rng.integers(0, 256, (*size, 3), dtype=np.uint8), "odd")
    result = compare((odd, load_sample("scene/2")), spec, pool, None, query=PatchQuery(((0, 0),)))
    assert result.answer is not None
    x, y = result.answer.match.first_xy
    assert 0 < x < size[1] and 0 < y < size[0]
    assert 0 < result.similarity.best_buddies <= 1


def test_a_query_outside_is_a_failed_run(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store
) -> None:
    with pytest.raises(InputError, match="row 8"):
        compare(views, spec, pool, store, query=PatchQuery(((8, 0),)))
    run = only_run(store)
    assert (run.status, run.kind, run.error_class) == ("failed", SIMILARITY, "InputError")
    assert "row 8" in run.error_message
    assert len(run.inputs) == 2


def test_options_that_the_model_lacks_are_a_failed_run(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store
) -> None:
    with pytest.raises(InputError):
        compare(views, spec, pool, store, options=FeatureOptions(layer=7))
    assert only_run(store).status == "failed"


def test_a_model_that_cannot_be_loaded_leaves_no_run(
    views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool, store: Store, folder: Path
) -> None:
    (folder / "small.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError):
        compare(views, spec, pool, store)
    assert store.count(RunFilter()) == 0


def test_scores_are_one_run(spec: ModelSpec, pool: ModelPool, store: Store) -> None:
    cache = FeatureCache(store)
    seen: list[tuple[int, int]] = []
    scores, run_id = evaluate_similarity(
        spec,
        9,  # more than are in memory at once
        0,
        cache=cache,
        pool=pool,
        sink=store,
        owner=LOCAL_OWNER,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert seen == [(8, 10), (9, 10), (10, 10)]
    assert scores.scenes.pairs == 9
    assert scores.stereo is not None and scores.stereo.pairs == 1
    for found in (scores.scenes, scores.stereo):
        assert 0 <= found.pck[0] <= found.pck[1] <= found.best_possible[1] <= 1
        assert found.chance[1] < found.best_possible[1]
    run = only_run(store)
    assert (run.id, run.kind, run.parameters["pairs"], run.parameters["seed"]) == (run_id, EVALUATION, 9, 0)
    assert run.metric("scenes_pck_0.1") == scores.scenes.pck[1]
    assert run.metric("stereo_pck_0.05") == scores.stereo.pck[0]
    assert run.metric("scenes_pck_0.05_chance") == scores.scenes.chance[0]
    assert artifact_of(store, run, "scores.json") == scores.as_json()
    assert score_pairs(spec, 9, 0, FeatureOptions(), cache=cache, pool=pool) == scores
    for n, seed in ((0, 0), (1001, 0), (3, -1)):
        with pytest.raises(InputError, match=f"no {n} pairs of seed {seed}"):
            evaluate_similarity(spec, n, seed, cache=cache, pool=pool, sink=None, owner=LOCAL_OWNER)


# As files

MATCH = Match((1, 2), (3, 4), (25.5, 15.0), (45.0, 35.0), 0.75, True, None, 0.0, 0.0, 98.5, None)


def test_matches_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(matches_csv([MATCH, MATCH]))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "rank": "1",
        "first_row": "1",
        "first_column": "2",
        "first_x": "25.5",
        "first_y": "15.0",
        "second_row": "3",
        "second_column": "4",
        "second_x": "45.0",
        "second_y": "35.0",
        "score": "0.75",
        "mutual": "1",
        "margin": "",
        "cycle_error_patches": "0.0",
        "cycle_error_px": "0.0",
        "others_percentile": "98.5",
        "unrelated_percentile": "",
    }
    assert matches_csv([]).strip() == ",".join(COLUMNS)


def test_matches_as_json() -> None:
    found = json.loads(matches_json({"model": "m"}, [MATCH]))
    assert found["model"] == "m"
    (match,) = found["matches"]
    assert (match["first"], match["second_xy"], match["margin"]) == ([1, 2], [45.0, 35.0], None)


def test_the_matrix_as_npy(views: tuple[ImageInput, ImageInput], spec: ModelSpec, pool: ModelPool) -> None:
    result = compare(views, spec, pool, None)
    matrix = np.load(io.BytesIO(matrix_npy(result.first, result.second)))
    assert (matrix.shape, matrix.dtype) == ((64, 88), np.float32)
    assert np.array_equal(matrix, similarity_matrix(result.first, result.second))
