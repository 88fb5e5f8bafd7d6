"""The similarity page: it shows what the features say; neither a click nor a display option runs a model."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest

from core.features.cache import FeatureCache
from core.features.matching import Match
from core.features.values import FeatureOptions, ImageFeatures
from core.images import encode_png
from core.loaders import ModelPool
from core.registry import resolve
from core.samples import load_sample
from core.scenes import generate_scene
from db import Store
from db.records import RunFilter
from pages.ui.similarity_state import Asked
from pages.ui.similarity_trust import verdict
from tests.pages.conftest import Visit, figures
from tests.pages.test_attention_maps import array

MODEL = "shipped/vit-scenes"
EVERY = RunFilter()
PAIR = ("pair/6/first", "pair/6/second")


@pytest.fixture(scope="module")
def both() -> tuple[ImageFeatures, ImageFeatures]:
    """The features of the page's first two pictures, computed apart from the page."""
    cache, pool = FeatureCache(None), ModelPool()
    options = FeatureOptions(size=128)
    first, second = (cache.get(resolve(MODEL), load_sample(n), options, pool).features for n in PAIR)
    return first, second


def cosines(query: NDArray[Any], features: ImageFeatures) -> NDArray[np.float64]:
    """Return the cosine of a vector and each patch, by the definition."""
    patches = features.patches.astype(np.float64)
    query = query.astype(np.float64)
    values = patches @ query / np.linalg.norm(patches, axis=2) / np.linalg.norm(query)
    return np.asarray(values)


def trace(session: AppTest, chart: int, kind: str, name: str | None = None) -> dict[str, Any]:
    found = figures(session)[chart]["data"]
    return next(t for t in found if t["type"] == kind and (name is None or t.get("name") == name))


def shown_map(session: AppTest, chart: int) -> NDArray[np.float64]:
    return array(trace(session, chart, "heatmap")["z"])


def best_place(session: AppTest, chart: int) -> tuple[float, float]:
    marks = trace(session, chart, "scatter", "best places")
    return float(array(marks["x"])[0]), float(array(marks["y"])[0])


def ask_for(session: AppTest, row: int, column: int) -> AppTest:
    session.number_input(key="similarity_row").set_value(row)
    session.run()
    session.number_input(key="similarity_column").set_value(column)
    return session.run()


def marks(session: AppTest) -> dict[str, str]:
    frame = next(f.value for f in session.table if "Mark" in f.value.columns)
    return dict(zip(frame["Mark"], frame["Value"], strict=True))


def test_the_first_view_is_a_real_result_that_numpy_agrees_with(
    visit: Visit, store: Store, both: tuple[ImageFeatures, ImageFeatures]
) -> None:
    session = visit("patch_similarity")
    session.selectbox(key="similarity_model").set_value(MODEL).run()
    assert not session.exception and not session.error
    ask_for(session, 8, 4)

    first, second = both
    expected = cosines(first.patches[8, 4], second)
    np.testing.assert_allclose(shown_map(session, 0), cosines(first.patches[8, 4], first), atol=1e-5)
    np.testing.assert_allclose(shown_map(session, 1), expected, atol=1e-5)
    assert shown_map(session, 0)[8, 4] == pytest.approx(1, abs=1e-5)
    row, column = divmod(int(expected.argmax()), 16)
    assert best_place(session, 1) == pytest.approx(((column + 0.5) * 14, (row + 0.5) * 14))

    said = marks(session)
    assert said["Cosine similarity"] == f"{expected.max():.3f}"
    back = cosines(second.patches[row, column], first)
    assert said["Mutual nearest neighbours"] == ("yes" if back.argmax() == 8 * 16 + 4 else "no")
    assert "n = " in said["Percentile among unrelated pictures"]
    assert said["Distance to the true place"].startswith("4.0 px")

    runs = store.runs(EVERY)
    assert {run.kind for run in runs} == {"similarity"}
    whole = store.run(session.query_params["run"], None)
    assert [picture.name for picture in whole.inputs] == list(PAIR)

    # Several at once: the mean of what is meant minus the mean of what is not, by numpy.
    before = store.count(EVERY)
    session.button(key="similarity_mode_several").click().run()
    session.button(key="similarity_sign_False").click().run()
    session.session_state["compared_asked"] = session.session_state["compared_asked"].click("first", (1, 12))
    session.slider(key="similarity_opacity").set_value(0.3)
    session.selectbox(key="similarity_colours").set_value("magma")
    session.toggle(key="similarity_smooth").set_value(True).run()
    unit = (
        first.patches.astype(np.float64) / np.linalg.norm(first.patches.astype(np.float64), axis=2)[..., None]
    )
    np.testing.assert_allclose(shown_map(session, 1), cosines(unit[8, 4] - unit[1, 12], second), atol=1e-5)
    session.button(key="similarity_remove_1_12").click().run()
    np.testing.assert_allclose(shown_map(session, 1), expected, atol=1e-5)
    assert store.count(EVERY) == before

    again = visit("patch_similarity", run=session.query_params["run"])
    assert not again.exception and not again.error
    np.testing.assert_array_equal(shown_map(again, 1), shown_map(session, 1))
    assert store.count(EVERY) == before
    assert any("not stored twice" in caption.value for caption in again.caption)

    script = next(code.value for code in session.code if code.language == "python")
    printed = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    ).stdout
    assert printed.splitlines()[0] == f"({row}, {column}) {expected.max():.4f}"


def test_a_query_that_is_outside_is_said_and_not_drawn(visit: Visit, store: Store) -> None:
    first = visit("patch_similarity")
    run_id = first.query_params["run"]
    view = {"asked": Asked(include=((3, 99),)).to_json()}
    store.set_view(run_id, "local", view)
    session = visit("patch_similarity", run=run_id)
    assert not session.exception
    assert any("outside of the 16 x 16 patches" in warning.value for warning in session.warning)
    assert shown_map(session, 1).shape == (16, 16)

    store.set_view(run_id, "local", {"asked": {"include": "nonsense"}})
    session = visit("patch_similarity", run=run_id)
    assert not session.exception
    assert "cannot be read" in session.error[0].value


def test_two_sessions_do_not_see_each_others_pictures(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.settings import settings

    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    alice, bob = visit("patch_similarity"), visit("patch_similarity")
    alice.session_state["similarity_pictures"] = "One with itself"
    alice.session_state["similarity_first_source"] = "Upload"
    alice.run()
    secret = generate_scene(987_654).png()
    alice.file_uploader(key="similarity_first_upload").set_value(("secret.png", secret, "image/png"))
    alice.run()
    bob.slider(key="similarity_opacity").set_value(0.3)
    bob.run()
    assert not alice.exception and not bob.exception
    assert any("secret" in caption.value for caption in alice.caption)
    assert not any("secret" in caption.value for caption in bob.caption)
    secret_run = alice.query_params["run"]
    assert store.run(secret_run, None).inputs[0].name == "secret.png"
    stranger = visit("patch_similarity", run=secret_run)
    assert any("no run" in error.value.lower() for error in stranger.error)


def test_a_uniform_picture_against_itself_is_said(visit: Visit) -> None:
    session = visit("patch_similarity")
    session.session_state["similarity_pictures"] = "One with itself"
    session.session_state["similarity_first_source"] = "Upload"
    session.run()
    grey = io.BytesIO(encode_png(np.full((60, 200, 3), 128, np.uint8))).getvalue()
    session.file_uploader(key="similarity_first_upload").set_value(("grey.png", grey, "image/png"))
    session.run()
    assert not session.exception and not session.error
    assert any("of one colour" in info.value for info in session.info)
    assert len([f for f in figures(session) if any(t.get("name") == "patches" for t in f["data"])]) == 1


def test_a_mask_of_the_segmentation_page_is_the_query(visit: Visit) -> None:
    session = visit("segment_anything")
    session.button(key="segment_find").click().run()
    session.switch_page("pages/patch_similarity.py").run()
    assert not session.exception and not session.error
    asked = session.session_state["compared_asked"]
    mask = generate_scene(1).largest.mask
    assert asked.mode == "mask" and len(asked.include) > 3
    height, width = mask.shape
    inside = [mask[int((r + 0.5) * height / 16), int((c + 0.5) * width / 16)] for r, c in asked.include]
    assert np.mean(inside) > 0.8


class TestAsked:
    """What clicks do to a question."""

    def test_one_patch_is_replaced_in_whichever_picture_is_clicked(self) -> None:
        asked = Asked(include=((1, 1),)).click("second", (2, 3))
        assert (asked.side, asked.include) == ("second", ((2, 3),))

    def test_several_add_and_take_away(self) -> None:
        asked = Asked(mode="several", include=((1, 1),)).click("first", (2, 2))
        assert asked.include == ((1, 1), (2, 2))
        assert asked.click("first", (1, 1)).include == ((2, 2),)
        other = asked.click("second", (4, 4))
        assert (other.side, other.include) == ("second", ((4, 4),))

    def test_a_box_takes_two_clicks_in_any_order(self) -> None:
        asked = Asked(mode="box").click("first", (3, 4)).click("first", (2, 2))
        assert set(asked.include) == {(r, c) for r in (2, 3) for c in (2, 3, 4)}
        assert asked.corner is None

    def test_json_and_back(self) -> None:
        asked = Asked("second", "several", ((1, 2), (3, 4)), ((0, 0),))
        assert Asked.from_json(asked.to_json()) == asked


LOST = {"mutual": False, "cycle_error_patches": 5.0}


def match(**changed: Any) -> Match:
    marks = {
        "first": (0, 0),
        "second": (0, 0),
        "first_xy": (0.0, 0.0),
        "second_xy": (0.0, 0.0),
        "score": 0.9,
        "mutual": True,
        "margin": 0.1,
        "cycle_error_patches": 0.0,
        "cycle_error_px": 0.0,
        "others_percentile": 100.0,
        "unrelated_percentile": 100.0,
    }
    return Match(**(marks | changed))


@pytest.mark.parametrize(
    ("changed", "flat", "level"),
    [
        pytest.param({}, False, "strong", id="all marks"),
        pytest.param({"unrelated_percentile": None}, False, "strong", id="not held against others"),
        pytest.param({}, True, "not to be trusted", id="all alike"),
        pytest.param({"unrelated_percentile": 50.0}, False, "not to be trusted", id="common"),
        pytest.param({"unrelated_percentile": 95.0}, False, "doubtful", id="not rare"),
        pytest.param({"margin": 0.001}, False, "doubtful", id="another as good"),
        pytest.param(LOST, False, "doubtful", id="lost on the way"),
        pytest.param(
            {"mutual": False, "cycle_error_patches": 5.0, "margin": 0.0},
            False,
            "not to be trusted",
            id="both",
        ),
    ],
)
def test_the_verdict_follows_its_rule(changed: dict[str, Any], flat: bool, level: str) -> None:
    assert verdict(match(**changed), flat).level == level
