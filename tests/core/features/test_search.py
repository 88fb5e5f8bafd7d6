"""Search over stored pictures: exact, private, of one revision, and nothing is computed twice."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError
from core.features.cache import FeatureCache
from core.features.kinds import SEARCH
from core.features.query import PatchQuery
from core.features.search import MAX_HITS, PictureSearch
from core.features.search_values import Hit
from core.features.search_workflow import SearchResult, search_pictures
from core.features.similarity import UnitGrid, query_map, unit
from core.features.values import FeatureOptions, ImageFeatures
from core.features.vector_index import READ_AT_ONCE, Space, VectorIndex, vector_bytes
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.registry import ModelSpec, resolve
from core.runs import Environment, RunDraft, RunInput
from core.settings import settings
from db import RunFilter, Store
from db.records import VectorRecord

OPTIONS = FeatureOptions()
CPU = Environment("cpu", "Test CPU", "float32", 1, {}, "")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def card(**more: Any) -> Card:
    arguments = {"image_size": 32, "patch_size": 8, "num_classes": 0, "dim": 24, "depth": 1, "heads": 2}
    return Card(
        kind="features",
        architecture=Architecture("VisionTransformer", arguments | {"mlp_dim": 48} | more),
        labels=(),
        input=ModelInput(32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        command="none",
        seed=0,
        data="nothing",
        score=Score("none", 0.0, 1, "untrained"),
        date="2026-01-31",
        duration_s=0.0,
        licence="MIT",
    )


def save(folder: Path, name: str, seed: int = 0, **more: Any) -> None:
    torch.manual_seed(seed)
    found = card(**more)
    save_checkpoint(folder / f"{name}.safetensors", VisionTransformer(**found.architecture.arguments), found)


class World:
    """A store, a small model, and what searches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.open(f"sqlite:///{folder / 'store.sqlite3'}")
        self.pool = ModelPool(budget_mb=100, device="cpu")
        self.restart()

    def restart(self) -> None:
        """Forget everything that is in memory but the model."""
        self.cache = FeatureCache(self.store, 64, 64)
        self.search = PictureSearch(self.store, self.cache)

    @property
    def spec(self) -> ModelSpec:
        return resolve("shipped/small")

    def keep(self, owner: str, *pictures: ImageInput, shared: bool = False) -> list[str]:
        """Leave a run of each picture."""
        ids = [
            self.store.record(RunDraft("attention", "m", "r", CPU, owner, inputs=(RunInput("picture", one),)))
            for one in pictures
        ]
        for run_id in ids if shared else ():
            self.store.annotate(run_id, owner, shared=True)
        return ids

    def find(self, image: ImageInput, owner: str = "ada", **more: Any) -> SearchResult:
        return search_pictures(
            image,
            self.spec,
            OPTIONS,
            search=self.search,
            cache=self.cache,
            pool=self.pool,
            sink=self.store,
            owner=owner,
            **more,
        )

    def features(self, image: ImageInput) -> ImageFeatures:
        return self.cache.get(self.spec, image, OPTIONS, self.pool).features

    def space(self, kind: Any = "mean") -> Space:
        return Space(self.spec.id, self.spec.revision, OPTIONS, kind)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(folder))
    settings.cache_clear()
    save(folder, "small")
    made = World(tmp_path)
    yield made
    assert made.store.check() == ()
    made.store.close()


def picture(seed: int, width: int = 32, height: int = 32) -> ImageInput:
    """Return blots of colour."""
    rng = np.random.default_rng(seed)
    blots = rng.integers(0, 256, (4, 4, 3), np.uint8)
    rgb = blots.repeat(-(-height // 4), axis=0).repeat(-(-width // 4), axis=1)[:height, :width]
    return from_rgb(rgb, f"picture {seed}.png")


def pasted(ground: ImageInput, of: ImageInput) -> ImageInput:
    """Return a picture with one patch, row 2 and column 1, of another one."""
    rgb = ground.rgb.copy()
    rgb[16:24, 8:16] = of.rgb[16:24, 8:16]
    return from_rgb(rgb, f"{ground.name} with a part")


def digests(result: SearchResult) -> list[str]:
    return [hit.sha256 for hit in result.hits]


# Ranks


@pytest.mark.parametrize("kind", ["cls", "mean"])
def test_pictures_come_in_the_order_of_their_cosines(world: World, kind: Any) -> None:
    pictures = [picture(seed, 32 + 16 * (seed % 3)) for seed in range(20)]
    run_ids = world.keep("ada", *pictures)
    result = world.find(picture(99), top=7, kind=kind)

    def vector(image: ImageInput) -> NDArray[np.float64]:
        features = world.features(image)
        found = features.mean if kind == "mean" else features.cls
        assert found is not None
        return found.astype(np.float64) / np.linalg.norm(found.astype(np.float64))

    cosines = np.array([vector(image) @ vector(picture(99)) for image in pictures])
    order = np.argsort(-cosines)[:7]
    assert digests(result) == [pictures[i].sha256 for i in order]
    assert np.allclose([hit.score for hit in result.hits], cosines[order], atol=1e-5)
    assert [hit.run_id for hit in result.hits] == [run_ids[i] for i in order]
    assert [hit.name for hit in result.hits] == [pictures[i].name for i in order]
    assert result.indexed.done == 20
    assert result.kind == kind


def test_the_map_of_a_picture_is_that_of_its_patches(world: World) -> None:
    other = picture(1, 64)
    world.keep("ada", other)
    (hit,) = world.find(picture(2)).hits
    features = world.features(other)
    wanted = world.features(picture(2)).mean
    expected = unit(features.patches) @ (wanted / np.linalg.norm(wanted))
    assert hit.map.shape == hit.frame.grid == (4, 8)
    assert np.allclose(hit.map, expected, atol=1e-5)
    assert hit.map[hit.best] == hit.map.max()


def test_a_region_finds_the_picture_that_holds_it(world: World) -> None:
    asked = picture(100)
    others = [picture(seed) for seed in range(12)]
    holder = pasted(picture(50), asked)
    world.keep("ada", *others, holder)
    region = PatchQuery(((2, 1),))
    result = world.find(asked, region=region, top=13)
    source = UnitGrid.of(world.features(asked))
    maps = {
        one.sha256: query_map(region, source, UnitGrid.of(world.features(one))) for one in [*others, holder]
    }
    assert digests(result) == sorted(maps, key=lambda sha256: (-maps[sha256].max(), sha256))
    for hit in result.hits:
        assert np.allclose(hit.map, maps[hit.sha256], atol=1e-6)
        assert hit.score == hit.map.max()
    first = next(hit for hit in result.hits if hit.sha256 == holder.sha256)
    assert first.best == (2, 1)
    assert result.hits[0] is first
    assert result.kind == "mean"


def test_a_picture_does_not_find_itself(world: World) -> None:
    world.keep("ada", picture(1), picture(2))
    assert digests(world.find(picture(1))) == [picture(2).sha256]
    assert digests(world.find(picture(1), region=PatchQuery(((0, 0),)))) == [picture(2).sha256]


# Privacy


def test_two_visitors_never_see_each_others_pictures(world: World) -> None:
    adas, bobs = [picture(i) for i in range(5)], [picture(i) for i in range(10, 70)]
    world.keep("ada", *adas)
    world.keep("bob", *bobs)
    asked = picture(200)
    regions = (None, PatchQuery(((1, 1),)))
    for region in regions:  # Bob's many pictures crowd Ada's few out of the nearest ones
        for owner, own in (("bob", bobs), ("ada", adas), ("eve", [])):
            found = digests(world.find(asked, owner, region=region, top=MAX_HITS))
            assert set(found) == {one.sha256 for one in own}
            assert len(found) == len(own)
        world.restart()
    assert digests(world.find(asked, "ada", top=1))[0] in {one.sha256 for one in adas}


@pytest.mark.parametrize("region", [None, PatchQuery(((1, 1), (1, 2)))])
def test_hits_opened_again_are_those_of_then_that_the_visitor_still_sees(
    world: World, region: PatchQuery | None
) -> None:
    asked = picture(200)
    (gone, _, shared) = world.keep("bob", picture(1), picture(2), picture(3))
    found = world.find(asked, "bob", region=region).hits
    world.store.annotate(shared, "bob", shared=True)
    world.store.delete([gone], "bob")
    world.restart()

    def again(owner: str) -> list[Hit]:
        features = world.features(asked)
        scores = {hit.sha256: hit.score for hit in found}
        spec, pool = world.spec, world.pool
        return list(world.search.again(scores, features, spec, pool=pool, owner=owner, region=region))

    left = [hit for hit in found if hit.sha256 != picture(1).sha256]
    for now, then in zip(again("bob"), left, strict=True):
        assert (now.sha256, now.score, now.name) == (then.sha256, then.score, then.name)
        np.testing.assert_allclose(now.map, then.map, atol=1e-6)
    assert [hit.sha256 for hit in again("eve")] == [picture(3).sha256]


def test_a_shared_picture_is_found_until_it_no_longer_is(world: World) -> None:
    (run_id,) = world.keep("bob", picture(1), shared=True)
    world.keep("bob", picture(2))
    assert digests(world.find(picture(9))) == [picture(1).sha256]
    world.store.annotate(run_id, "bob", shared=False)
    assert world.find(picture(9)).hits == ()


def test_a_deleted_picture_is_not_found_and_one_that_comes_back_is(world: World) -> None:
    (run_id, _) = world.keep("ada", picture(1), picture(2))
    assert len(world.find(picture(9)).hits) == 2
    world.store.delete([run_id], "ada")
    assert digests(world.find(picture(9))) == [picture(2).sha256]
    world.keep("ada", picture(1))
    again = world.find(picture(9))
    assert set(digests(again)) == {picture(1).sha256, picture(2).sha256}
    assert again.indexed.done == 1


def test_the_model_runs_on_no_picture_that_the_visitor_may_not_see(world: World) -> None:
    world.keep("bob", picture(1))
    result = world.find(picture(9), "ada")
    assert result.indexed.done == 0
    assert world.cache.kept(picture(1).sha256, world.spec.id, world.spec.revision, OPTIONS) is None


def test_a_run_of_a_search_names_no_picture(world: World) -> None:
    """Who shares the run shares what was asked, not the names of all that was found."""
    world.keep("ada", picture(1))
    result = world.find(picture(9), region=PatchQuery(((0, 1),)))
    assert result.run_id is not None
    run = world.store.run(result.run_id, "ada")
    assert (run.kind, run.model_id, run.model_revision) == (SEARCH, "shipped/small", world.spec.revision)
    assert [one.sha256 for one in run.inputs] == [picture(9).sha256]
    assert run.parameters == {
        "options": OPTIONS.as_json(),
        "top": 12,
        "region": {"include": [[0, 1]], "exclude": []},
        "kind": "mean",
    }
    data = world.store.artifact(result.run_id, "hits.json", "ada")
    hit = result.hits[0]
    assert json.loads(data) == [{"sha256": hit.sha256, "score": hit.score, "best": list(hit.best)}]
    assert picture(1).name.encode() not in data
    assert run.metric("indexed") == 1


# Nothing twice, nothing mixed


def test_after_a_restart_no_model_is_loaded(world: World) -> None:
    world.keep("ada", *(picture(i) for i in range(5)))
    before = world.find(picture(0), kind="cls")
    world.restart()
    world.pool = ModelPool(budget_mb=100, device="cpu")
    assert world.search.missing(world.spec, OPTIONS, pool=world.pool, owner="ada") == 0
    after = world.find(picture(0), kind="cls")
    assert digests(after) == digests(before)
    assert after.indexed.done == 0
    assert world.pool.loaded() == ()


def test_only_new_pictures_are_run(world: World) -> None:
    world.keep("ada", picture(1), picture(2))
    told: list[tuple[int, int]] = []
    assert world.search.missing(world.spec, OPTIONS, pool=world.pool, owner="ada") == 2
    world.find(picture(9), progress=lambda *counts: told.append(counts))
    world.keep("ada", *(picture(i) for i in range(20, 40)))
    result = world.find(picture(9), progress=lambda *counts: told.append(counts))
    assert result.indexed.done == 21  # the one that was asked for is in the store by now
    assert told == [(2, 2), (16, 21), (21, 21)]
    assert len(result.hits) == 12


def test_what_was_made_findable_before_a_cancel_stays(world: World) -> None:
    world.keep("ada", *(picture(i) for i in range(20)))

    class Cancelled(Exception):
        pass

    def cancel(done: int, of: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        world.search.index_missing(world.spec, OPTIONS, pool=world.pool, owner="ada", progress=cancel)
    assert world.search.missing(world.spec, OPTIONS, pool=world.pool, owner="ada") == 4


def test_vectors_of_another_revision_are_never_mixed(world: World) -> None:
    world.keep("ada", *(picture(i) for i in range(6)))
    old, old_revision = world.find(picture(9), top=6), world.spec.revision
    save(world.folder / "checkpoints", "small", seed=1)
    world.pool = ModelPool(budget_mb=100, device="cpu")
    assert world.spec.revision != old_revision
    unindexed = world.find(picture(9), index=False)
    assert unindexed.hits == ()
    new = world.find(picture(9), top=6)
    assert new.indexed.done == 7
    scores = {hit.sha256: hit.score for hit in old.hits}
    assert len(new.hits) == 6
    assert all(abs(scores[hit.sha256] - hit.score) > 1e-6 for hit in new.hits)


SPOILED = {
    "too short": b"abc",
    "too long": bytes(4 * 24 + 4),
    "empty": b"",
    "not finite": np.full(24, np.nan, "<f4").tobytes(),
    "infinite": np.full(24, np.inf, "<f4").tobytes(),
    "another length": np.full(24, 1, "<f4").tobytes(),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_vector_that_was_changed_is_computed_again(
    world: World, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.keep("ada", picture(1), picture(2), picture(3))
    before = world.find(picture(9), kind="mean")
    world.store.put_vectors(world.space().key, {picture(2).sha256: SPOILED[name]})
    world.restart()
    with caplog.at_level(logging.WARNING):
        without = world.find(picture(9), kind="mean", index=False)
    assert set(digests(without)) == {picture(1).sha256, picture(3).sha256}
    assert "cannot be used" in caplog.text
    after = world.find(picture(9), kind="mean")
    assert digests(after) == digests(before)
    assert [hit.score for hit in after.hits] == [hit.score for hit in before.hits]


def test_a_vector_of_another_process_is_found(world: World) -> None:
    world.keep("ada", picture(1))
    assert len(world.find(picture(9)).hits) == 1
    world.keep("ada", picture(2))
    with Store.open(f"sqlite:///{world.folder / 'store.sqlite3'}") as other:
        theirs = PictureSearch(other, FeatureCache(other, 64, 64))
        theirs.index_missing(world.spec, OPTIONS, pool=world.pool, owner="ada")
    assert len(world.find(picture(9), index=False).hits) == 2


# What cannot be


def test_a_damaged_picture_is_told_and_costs_the_others_nothing(world: World) -> None:
    bad = from_rgb(picture(1).rgb, "bad.png")
    broken = ImageInput("broken.png", b"no picture", "", "PNG", bad.rgb)
    object.__setattr__(broken, "sha256", __import__("hashlib").sha256(b"no picture").hexdigest())
    world.keep("ada", broken, picture(2), picture(3))
    result = world.find(picture(9))
    assert set(digests(result)) == {picture(2).sha256, picture(3).sha256}
    assert result.indexed.done == 2
    ((name, why),) = result.indexed.failed
    assert name == "broken.png"
    assert "not a picture" in why


def test_an_empty_store_finds_nothing(world: World) -> None:
    assert world.find(picture(9)).hits == ()
    assert world.find(picture(8), region=PatchQuery(((0, 0),)), owner="bob").hits == ()


@pytest.mark.parametrize("top", [0, -1, MAX_HITS + 1])
def test_a_number_of_pictures_that_cannot_be_is_refused_before_anything_runs(world: World, top: int) -> None:
    world.keep("ada", picture(1))
    with pytest.raises(InputError, match=f"{top} pictures"):
        world.find(picture(9), top=top)
    assert world.search.missing(world.spec, OPTIONS, pool=world.pool, owner="ada") == 2
    (failed, _) = world.store.runs(RunFilter())
    assert (failed.kind, failed.status) == (SEARCH, "failed")


def test_a_region_outside_or_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="row 4"):
        world.find(picture(9), region=PatchQuery(((4, 0),)))
    uniform = from_rgb(np.full((32, 32, 3), 90, np.uint8), "grey.png")
    torch.manual_seed(0)
    module = VisionTransformer(**card().architecture.arguments)
    torch.nn.init.zeros_(module.position.weight)  # else places tell the patches apart
    save_checkpoint(world.folder / "checkpoints" / "small.safetensors", module, card())
    with pytest.raises(InputError, match="the same on average"):
        world.find(uniform, region=PatchQuery(((0, 0),), ((1, 1),)))


def test_a_model_without_a_cls_token_takes_the_mean(world: World) -> None:
    save(world.folder / "checkpoints", "small", seed=3, pool="mean")
    world.keep("ada", picture(1))
    assert world.find(picture(9)).kind == "mean"
    with pytest.raises(InputError, match="no CLS token"):
        world.find(picture(9), kind="cls")


# The index by itself


class Rows:
    """Vectors without a database."""

    def __init__(self) -> None:
        self.rows: list[VectorRecord] = []

    def add(self, sha256: str, data: bytes) -> None:
        self.rows.append(VectorRecord(len(self.rows) + 1, sha256, data))

    def vectors(self, space: str, *, after: int, limit: int) -> Sequence[VectorRecord]:
        return self.rows[after : after + limit]

    def put_vectors(self, space: str, by_picture: Any) -> None:
        raise NotImplementedError

    def drop_vectors(self, space: str, sha256s: Any) -> None:
        raise OSError("read only")


def random_units(seed: int, n: int, dim: int) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 70), st.booleans())
def test_the_nearest_are_those_of_a_plain_product(seed: int, n: int, top: int, some: bool) -> None:
    vectors, asked = random_units(seed, n, 8), random_units(seed + 1, 1, 8)[0]
    rows, names = Rows(), [f"{i:064x}" for i in range(n)]
    for name, vector in zip(names, vectors, strict=True):
        rows.add(name, vector_bytes(vector))
    index = VectorIndex("s", 8)
    index.refresh(rows)
    among = set(names[::2]) if some else None
    scores = {name: float(v @ asked) for name, v in zip(names, vectors, strict=True)}
    expected = sorted((one for one in among or names), key=lambda one: -scores[one])[:top]
    found = index.nearest(asked, top, among)
    assert [name for name, _ in found] == expected
    assert np.allclose([score for _, score in found], [scores[name] for name in expected], atol=1e-6)
    assert len(index) == n


def test_a_replaced_vector_counts_once_and_anew() -> None:
    rows, (old, new, other) = Rows(), random_units(0, 3, 8)
    index = VectorIndex("s", 8)
    rows.add("a", vector_bytes(old))
    rows.add("b", vector_bytes(other))
    index.refresh(rows)
    rows.add("a", vector_bytes(new))
    index.refresh(rows)
    assert len(index) == 2
    (first, score), (second, _) = index.nearest(new, 5)
    assert (first, second) == ("a", "b")
    assert score == pytest.approx(1, abs=1e-6)
    assert dict(index.nearest(old, 2))["a"] == pytest.approx(float(old @ new), abs=1e-6)


def test_more_than_one_reading_and_a_store_that_may_not_be_written() -> None:
    rows, vector = Rows(), vector_bytes(random_units(1, 1, 4)[0])
    for i in range(READ_AT_ONCE + 5):
        rows.add(f"{i:064x}", b"" if i == 3 else vector)
    index = VectorIndex("s", 4)
    index.refresh(rows)
    assert len(index) == READ_AT_ONCE + 4
    assert index.memory_mb == pytest.approx((READ_AT_ONCE + 4) * 16 / 1e6)


def test_a_space_has_a_name_of_its_own() -> None:
    spaces = {
        Space(model, revision, options, kind)  # type: ignore[arg-type]
        for model in "ab"
        for revision in "ab"
        for options in (
            OPTIONS,
            FeatureOptions(layer=0),
            FeatureOptions(facet="key"),
            FeatureOptions(size=64),
        )
        for kind in ("cls", "mean")
    }
    assert len({space.key for space in spaces}) == len(spaces) == 32
    assert all(len(space.key) == 64 for space in spaces)
