"""The tools of the similarity page: each shows what its core function says, and nobody else's pictures."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.charts.patches import PART_COLOURS, part_colours, patch_picture
from core.explain.maps import to_picture
from core.features.cache import FeatureCache
from core.features.image_similarity import image_similarity
from core.features.parts import kmeans_parts
from core.features.pca import ForegroundRule, fit_pca, two_step
from core.features.values import FeatureOptions, ImageFeatures
from core.images import from_rgb
from core.loaders import ModelPool
from core.preprocess import Frame
from core.registry import resolve
from core.samples import load_sample
from db import Store
from db.records import RunFilter
from pages.ui import state
from pages.ui.similarity_models import map_correlation
from tests.pages.conftest import Visit

MODEL = "shipped/dino-scenes"
PAIR = ("pair/6/first", "pair/6/second")
EVERY = RunFilter()


@pytest.fixture(scope="module")
def both() -> tuple[ImageFeatures, ImageFeatures]:
    cache, pool = FeatureCache(None), ModelPool()
    options = FeatureOptions(size=128)
    first, second = (cache.get(resolve(MODEL), load_sample(n), options, pool).features for n in PAIR)
    return first, second


def opened(visit: Visit, tool: str) -> AppTest:
    session = visit("patch_similarity")
    assert session.selectbox(key="similarity_model").value == MODEL
    session.segmented_control(key="similarity_tool").set_value(tool).run()
    assert not session.exception and not session.error
    return session


def table(session: AppTest, column: str, first: str = "Mark") -> dict[str, str]:
    frame = next(t.value for t in session.table if {column, first} <= set(t.value.columns))
    return dict(zip(frame.iloc[:, 0], frame[column], strict=True))


def test_how_alike_by_value(visit: Visit, both: tuple[ImageFeatures, ImageFeatures]) -> None:
    said = table(opened(visit, "How alike"), "Value", "Measure")
    expected = image_similarity(*both)
    assert expected.cls is not None
    assert said["CLS cosine"] == f"{expected.cls:.3f}"
    assert said["Mean-patch cosine"] == f"{expected.mean:.3f}"
    assert said["Best-buddies share"] == f"{expected.best_buddies:.3f}"


def test_components_and_a_basis_that_is_kept(visit: Visit, both: tuple[ImageFeatures, ImageFeatures]) -> None:
    session = opened(visit, "Components")
    explained = next(d.value for d in session.dataframe if "Explained variance" in d.value.columns)
    np.testing.assert_allclose(explained["Explained variance"], fit_pca(both).explained, atol=1e-4)
    session.selectbox(key="similarity_pca_rule").set_value("First component").run()
    explained = next(d.value for d in session.dataframe if "Explained variance" in d.value.columns)
    view = two_step(both, ForegroundRule("first"))
    np.testing.assert_allclose(explained["Explained variance"], view.basis.explained, atol=1e-4)
    session.button(key="similarity_basis_keep").click().run()
    session.number_input(key="similarity_pair").set_value(7).run()
    assert not session.exception and not session.error
    kept = session.session_state[state.SIMILARITY_BASIS.key]
    np.testing.assert_allclose(kept.components, view.basis.components, atol=1e-4)
    assert session.toggle(key="similarity_basis_used").value
    explained = next(d.value for d in session.dataframe if "Explained variance" in d.value.columns)
    np.testing.assert_allclose(explained["Explained variance"], view.basis.explained, atol=1e-4)
    session.selectbox(key="similarity_facet").set_value("key").run()
    assert "another options" in session.error[0].value


def test_parts_by_value(visit: Visit, both: tuple[ImageFeatures, ImageFeatures]) -> None:
    session = opened(visit, "Parts")
    session.slider(key="similarity_k").set_value(3).run()
    shown = next(d.value for d in session.dataframe if "Tightness" in d.value.columns)
    expected = kmeans_parts([one.patches for one in both], 3)
    assert list(shown["Patches"]) == list(expected.sizes)


def test_foreground_becomes_the_query(visit: Visit) -> None:
    session = opened(visit, "Foreground")
    session.slider(key="similarity_tau").set_value(0.6).run()
    session.button(key="similarity_cut_ask_first").click().run()
    assert not session.exception and not session.error
    asked = session.session_state[state.SIMILARITY_ASKED.key]
    assert asked.mode == "mask" and asked.side == "first" and len(asked.include) > 1


def test_another_model_answers_the_same_click(visit: Visit, store: Store) -> None:
    session = opened(visit, "Another model")
    mine = session.query_params["run"]
    (run,) = [run for run in store.runs(EVERY) if run.id != mine]
    assert run.model_id == "shipped/vit-scenes"
    said = table(session, "Other model")
    assert said["Distance to the true place"].endswith("px")
    twin = session.toggle(key="similarity_twin").set_value(True).run()
    assert not twin.exception and not twin.error
    assert table(twin, "Other model")["Cosine similarity"] != said["Cosine similarity"]
    assert store.count(EVERY) == 3  # one of each model

    again = visit("patch_similarity", run=run.id)
    assert not again.exception and not again.error
    assert again.selectbox(key="similarity_model").value == run.model_id
    assert table(again, "Value")["Cosine similarity"] == said["Cosine similarity"]


def test_search_finds_own_pictures_and_nobody_elses(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    monkeypatch.setenv("VISION_BENCH_KEEP_PICTURES", "1")
    other = visit("patch_similarity")
    other.number_input(key="similarity_pair").set_value(9).run()
    session = opened(visit, "Search")
    session.button(key="similarity_search_go").click().run()
    assert not session.exception and not session.error
    found = next(
        d.value for d in session.dataframe if "Similarity" in d.value.columns and "Picture" in d.value
    )
    assert list(found["Picture"]) == [PAIR[1]]


@pytest.mark.parametrize("region", [False, True])
def test_a_search_is_opened_again_as_it_was(visit: Visit, store: Store, region: bool) -> None:
    visit("patch_similarity").number_input(key="similarity_pair").set_value(9).run()
    session = opened(visit, "Search")
    if region:
        session.segmented_control(key="similarity_look_for").set_value("What is asked").run()
    session.button(key="similarity_search_go").click().run()
    run = next(run for run in store.runs(EVERY) if run.kind == "search")
    before = store.count(EVERY)
    again = visit("patch_similarity", run=run.id)
    assert not again.exception and not again.error
    assert again.segmented_control(key="similarity_tool").value == "Search"
    assert again.query_params["run"] == run.id
    shown = [next(d.value for d in s.dataframe if "Picture" in d.value.columns) for s in (session, again)]
    assert len(shown[0]) == 3
    assert shown[0].equals(shown[1])
    assert store.count(EVERY) == before


def test_scores_beside_the_untrained_twin(visit: Visit, store: Store) -> None:
    session = opened(visit, "Scores")
    session.number_input(key="similarity_score_pairs").set_value(4).run()
    session.button(key="similarity_score_go").click().run()
    assert not session.exception and not session.error
    shown = next(d.value for d in session.dataframe if "PCK@0.1" in d.value.columns)
    scenes = shown[shown["Pairs"] == "scenes"]["PCK@0.1"].astype(float).tolist()
    assert len(scenes) == 2 and scenes[0] > scenes[1]
    kinds = [run.kind for run in store.runs(EVERY)]
    assert kinds.count("similarity-evaluation") == 2

    before = store.count(EVERY)
    twin = next(run for run in store.runs(EVERY) if run.model_id == f"random/{MODEL}")
    again = visit("patch_similarity", run=twin.id)
    assert not again.exception and not again.error
    (row, _) = next(d.value for d in again.dataframe if "PCK@0.1" in d.value.columns).to_dict("records")
    assert row == next(r for r in shown.to_dict("records") if "untrained" in r["Model"])
    assert again.number_input(key="similarity_score_pairs").value == 4
    assert store.count(EVERY) == before


def test_a_picture_of_one_colour_is_said_and_nothing_fails(visit: Visit) -> None:
    grey = from_rgb(np.full((64, 64, 3), 128, np.uint8), "grey")
    for tool in ("How alike", "Components", "Parts", "Foreground"):
        session = visit("patch_similarity")
        session.session_state["similarity_pictures"] = "One with itself"
        session.session_state["similarity_first_source"] = "Upload"
        session.session_state[state.UPLOADED.key] = grey
        session.segmented_control(key="similarity_tool").set_value(tool)
        session.run()
        assert not session.exception and not session.error
        assert any("grey is of one colour" in info.value for info in session.info)


def test_patch_colours_lie_on_their_patches() -> None:
    image = from_rgb(np.zeros((40, 60, 3), np.uint8), "black")
    labels = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    frame = Frame((0, 0, 60, 40), (2, 3))
    shown = np.asarray(patch_picture(image, part_colours(labels), frame, 1.0))
    for row in range(2):
        for column in range(3):
            cell = shown[row * 20 : row * 20 + 20, column * 20 : column * 20 + 20]
            assert (cell == PART_COLOURS[labels[row, column]]).all()
    mask = labels > 2
    covered = np.asarray(patch_picture(image, part_colours(labels), frame, 0.0, mask))
    assert not covered.any()
    outside = to_picture(mask.astype(np.float32), frame, 60, 40, smooth=False) < 0.5
    faded = np.asarray(patch_picture(image, part_colours(labels), frame, 1.0, mask))
    assert (faded[outside] == 20).all()


def test_correlation_of_maps_of_other_grids() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((8, 8)).astype(np.float32)
    assert map_correlation(values, values) == pytest.approx(1)
    assert map_correlation(values, -values) == pytest.approx(-1)
    finer = values.repeat(2, axis=0).repeat(2, axis=1)
    agree = map_correlation(values, finer)
    assert agree is not None and agree > 0.8
    assert map_correlation(values, np.zeros_like(values)) is None
