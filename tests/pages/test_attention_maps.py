"""The attention page: what it shows is what the model computed, and display runs no model."""

import base64
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest

from core.charts.attention import mask_edges
from core.environment import describe_environment
from core.explain.maps import attention_row, mass_mask, patch_map
from core.images import encode_png
from core.loaders import ModelPool
from core.preprocess import Frame
from core.registry import resolve
from core.runs import LOCAL_OWNER, RunDraft, RunInput
from core.samples import load_sample
from core.scenes import generate_scene
from core.workflows import attend
from db import RunFilter, Store
from tests.pages.conftest import Visit, figures

MODEL = "shipped/vit-scenes"
EVERY = RunFilter()


def shown_map(session: AppTest) -> NDArray[np.float64]:
    """Return the map that the first chart draws, rows by columns."""
    heatmap = next(trace for trace in figures(session)[0]["data"] if trace["type"] == "heatmap")
    return array(heatmap["z"])


def array(value: Any) -> NDArray[np.float64]:
    """Return an array of a chart's description; Plotly packs large ones as base64."""
    if not isinstance(value, dict):
        return np.asarray(value)
    flat = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
    return flat.reshape([int(n) for n in str(value["shape"]).split(",")])


@pytest.fixture(scope="module")
def astronaut() -> Any:
    """What the workflow says about the page's first picture, computed apart from the page."""
    return attend(
        load_sample("astronaut"), resolve(MODEL), pool=ModelPool(), sink=None, owner="", keep_mb=1000
    ).attention


def test_the_first_view_is_a_real_result_and_one_run(visit: Visit, store: Store, astronaut: Any) -> None:
    session = visit("attention_maps")
    assert not session.exception
    last = astronaut.depth - 1
    np.testing.assert_allclose(
        shown_map(session), patch_map(astronaut, attention_row(astronaut, last, "mean", "cls")), atol=1e-6
    )
    (run,) = store.runs(EVERY)
    whole = store.run(run.id, None)
    assert (run.kind, run.model_id, run.status) == ("attention", MODEL, "ok")
    assert whole.inputs[0].name == "astronaut"
    assert any(run.id in caption.value for caption in session.caption)
    assert session.query_params["run"] == run.id


def test_layer_head_and_patch_are_shown_without_running_the_model_again(
    visit: Visit, store: Store, astronaut: Any
) -> None:
    session = visit("attention_maps")
    session.slider(key="attention_layer").set_value(1)
    session.session_state["attention_head"] = "2"
    session.session_state["attention_query"] = "Patch"
    session.session_state["attention_row"] = 3
    session.session_state["attention_column"] = 5
    session.slider(key="attention_opacity").set_value(0.2)
    session.selectbox(key="attention_colours").set_value("magma")
    session.run()
    assert not session.exception
    np.testing.assert_allclose(
        shown_map(session), patch_map(astronaut, attention_row(astronaut, 1, 2, (3, 5))), atol=1e-6
    )
    assert store.count(EVERY) == 1


def test_dino_is_offered_with_the_mask_of_its_mass(visit: Visit) -> None:
    session = visit("attention_maps")
    session.selectbox(key="attention_model").set_value("shipped/dino-scenes").run()
    session.session_state["attention_head"] = "1"
    session.toggle(key="attention_outlined").set_value(True).run()
    assert not session.exception and not session.error
    assert session.slider(key="attention_mass").value == 60
    values = shown_map(session)
    mask = mass_mask(values.astype(np.float32), 0.6)
    assert values[mask].sum() >= 0.6 * values.sum() > values[mask].sum() - values[mask].min()
    drawn = next(t for t in figures(session)[0]["data"] if t.get("mode") == "lines" and len(t["x"]) > 5)
    frame = Frame((0, 0, 512, 512), (mask.shape[0], mask.shape[1]))
    edges = {
        frozenset(((x0, y0), (x1, y1)))
        for x0, x1, y0, y1 in zip(
            *(array(drawn[axis])[start::3] for axis in "xy" for start in (0, 1)), strict=True
        )
    }
    assert edges == {frozenset((edge[:2], edge[2:])) for edge in mask_edges(mask, frame)}


def test_a_run_opened_by_its_address_looks_as_it_was_left_and_is_not_stored_twice(
    visit: Visit, store: Store
) -> None:
    first = visit("attention_maps")
    first.selectbox(key="attention_sample").set_value("coffee")
    first.slider(key="attention_layer").set_value(2)
    first.session_state["attention_query"] = "Patch"
    first.session_state["attention_row"] = 1
    first.session_state["attention_column"] = 4
    first.run()
    assert not first.exception
    run_id = store.runs(EVERY)[0].id

    again = visit("attention_maps", run=run_id)
    assert not again.exception
    assert again.selectbox(key="attention_sample").value == "coffee"
    assert again.slider(key="attention_layer").value == 2
    np.testing.assert_array_equal(shown_map(again), shown_map(first))
    assert store.count(EVERY) == 2  # the astronaut and the coffee
    assert any("computed again" in caption.value for caption in again.caption)


def test_choices_survive_leaving_the_page(visit: Visit, store: Store) -> None:
    session = visit("attention_maps")
    session.selectbox(key="attention_sample").set_value("chelsea")
    session.slider(key="attention_layer").set_value(0)
    session.run()
    session.switch_page("pages/history.py").run().run()
    session.switch_page("pages/attention_maps.py").run().run()
    assert not session.exception
    assert session.selectbox(key="attention_sample").value == "chelsea"
    assert session.slider(key="attention_layer").value == 0
    assert store.count(EVERY) == 2


def upload(session: AppTest, name: str, data: bytes) -> AppTest:
    session.session_state["attention_source"] = "Upload"
    session.run()
    session.file_uploader(key="attention_upload").set_value((name, data, "image/png"))
    return session.run()


def test_two_sessions_do_not_see_each_other(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.settings import settings

    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    alice, bob = visit("attention_maps"), visit("attention_maps")
    secret = generate_scene(987_654)
    upload(alice, "alices-secret.png", secret.png())
    bob.slider(key="attention_opacity").set_value(0.3)
    bob.run()
    assert not alice.exception and not bob.exception
    assert not np.array_equal(shown_map(alice), shown_map(bob))

    secret_run = next(
        run.id for run in store.runs(EVERY) if store.run(run.id, None).inputs[0].name == "alices-secret.png"
    )
    stranger = visit("attention_maps", run=secret_run)
    assert any("no run" in error.value.lower() for error in stranger.error)
    bob.switch_page("pages/history.py").run()
    text = " ".join(str(frame.value.to_dict()) for frame in bob.dataframe)
    assert secret_run not in text
    assert store.run(secret_run, None).inputs[0].kept is False


def test_a_visitor_may_share_a_run(visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.settings import settings

    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    owner = visit("attention_maps")
    run_id = store.runs(EVERY)[0].id
    assert visit("attention_maps", run=run_id).error
    owner.toggle(key=f"share_{run_id}").set_value(True)
    owner.run()
    guest = visit("attention_maps", run=run_id)
    assert not guest.exception and not guest.error
    np.testing.assert_array_equal(shown_map(guest), shown_map(owner))
    assert f"share_{run_id}" not in [toggle.key for toggle in guest.toggle]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "empty", id="empty file"),
        pytest.param(b"not a picture at all", "not", id="renamed text"),
        pytest.param(encode_png(np.zeros((40, 40, 3), np.uint8))[:60], "cut off", id="cut off"),
    ],
)
def test_a_bad_upload_is_one_sentence_with_a_remedy(
    visit: Visit, store: Store, data: bytes, said: str
) -> None:
    session = upload(visit("attention_maps"), "holiday.png", data)
    assert not session.exception
    (error,) = session.error
    assert "holiday" in error.value and said in error.value and "What to do" in error.value
    assert store.count(EVERY) == 1


@pytest.mark.parametrize(
    ("model_id", "said"),
    [
        ("random/vit_tinny_patch16_224", "vit\\_tiny\\_patch16\\_224"),
        ("random/resnet18", "is not a plain vision transformer"),
    ],
)
def test_a_run_of_a_model_that_cannot_be_says_which_can(
    visit: Visit, store: Store, model_id: str, said: str
) -> None:
    picture = RunInput("picture", load_sample("coffee"))
    environment = describe_environment("cpu", "float32")
    run_id = store.record(RunDraft("attention", model_id, "", environment, LOCAL_OWNER, inputs=[picture]))
    session = visit("attention_maps", run=run_id)
    assert not session.exception
    assert said in session.error[0].value
    assert session.selectbox(key="attention_sample").value == "coffee"


def test_a_model_that_is_not_here_says_what_to_do(visit: Visit) -> None:
    session = visit("attention_maps")
    session.selectbox(key="attention_model").set_value("timm/vit_small_patch16_224.dino")
    session.run()
    assert not session.exception
    assert "does not answer" in session.warning[0].value
    assert session.selectbox(key="attention_sample").value == "astronaut"


def test_other_architectures_with_registers_and_no_cls(visit: Visit, store: Store) -> None:
    session = visit("attention_maps")
    session.session_state["attention_model"] = "random/vit_tiny_patch16_224"
    session.session_state["attention_sample"] = "rocket"
    session.run()
    assert not session.exception
    rows, columns = shown_map(session).shape
    assert rows == 14 and columns > rows  # the picture is wide
    session.session_state["attention_method"] = "Rollout"
    session.run()
    assert not session.exception
    assert 0 < shown_map(session).sum() < 1
    assert store.count(EVERY) == 2


def test_a_run_whose_picture_was_not_kept_says_what_is_missing(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.settings import settings

    monkeypatch.setenv("VISION_BENCH_KEEP_PICTURES", "0")
    settings.cache_clear()
    upload(visit("attention_maps"), "mine.png", generate_scene(4_321).png())
    run_id = store.runs(EVERY)[0].id
    again = visit("attention_maps", run=run_id)
    assert not again.exception
    assert "kept only the digest" in again.warning[0].value
    assert again.selectbox(key="attention_model").value == MODEL


def test_a_run_of_a_scene_opens_with_that_scene(visit: Visit, store: Store) -> None:
    first = visit("attention_maps")
    first.session_state["attention_source"] = "Scenes"
    first.run()
    first.number_input(key="attention_scene").set_value(17).run()
    again = visit("attention_maps", run=store.runs(EVERY)[0].id)
    assert not again.exception and not again.error
    assert again.number_input(key="attention_scene").value == 17
    np.testing.assert_array_equal(shown_map(again), shown_map(first))
