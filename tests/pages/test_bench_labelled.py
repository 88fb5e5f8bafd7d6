"""A labelled zip on the benchmark page: from the upload to the accuracy, or to why there is none."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.runs import LOCAL_OWNER
from core.scenes import generate_scene
from core.settings import settings
from pages.ui.session import live_benchmarks
from tests.pages.conftest import Visit
from tests.pages.test_vlm import words_of
from tests.support.zips import zipped

PAGE = "model_benchmark"
MODEL = "shipped/vit-scenes"
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def nothing_left_at_work() -> Iterator[None]:
    """End whatever a test began."""
    yield
    for live in live_benchmarks().of(LOCAL_OWNER):
        live.run.cancel()
        live.wait(PATIENCE_S)


def opened(visit: Visit) -> AppTest:
    """Return the page where a labelled zip is asked for."""
    session = visit(PAGE)
    session.session_state["bench_view"] = "Benchmark"
    session.run()
    session.multiselect(key="bench_full_models").set_value([MODEL])
    session.number_input(key="bench_full_seconds").set_value(0.2)
    session.number_input(key="bench_full_rounds").set_value(1)
    session.segmented_control(key="bench_full_truths").set_value("Labelled zip")
    return session.run()


def upload(session: AppTest, data: bytes) -> AppTest:
    file = ("pets & <b>.zip", data, "application/zip")
    return session.file_uploader(key="bench_full_labelled").set_value(file).run()


def measured(session: AppTest) -> AppTest:
    """Press the button, and return the page as it is in the end."""
    session.button(key="bench_full_start").click().run()
    assert not session.exception and not session.error
    live = live_benchmarks().find(session.query_params["benchmark"], LOCAL_OWNER)
    assert live is not None
    live.wait(PATIENCE_S)
    return session.run()


def said(session: AppTest) -> str:
    return words_of(session).replace("\\", "")


def test_the_accuracy_on_a_labelled_zip_is_shown_and_what_no_label_matches_is_told(visit: Visit) -> None:
    session = opened(visit)
    assert "No labelled zip is given." in said(session)
    scenes = [generate_scene(10**15 + number) for number in range(6)]
    files = {f"{scene.label}/{number}.png": scene.png() for number, scene in enumerate(scenes)}
    files["yeti/1.png"] = scenes[0].png()
    session = upload(session, zipped(files))
    assert not session.error
    count = len({scene.label for scene in scenes}) + 1
    assert f"7 pictures of {count} classes" in said(session)
    session = measured(session)
    key = next(
        one.key for one in session.get("button_group") if one.key and one.key.startswith("bench_full_chart")
    )
    session.session_state[key] = "Accuracy and speed"
    words = said(session.run())
    assert "accuracy on pets-b.zip" in words
    row = next(line for line in words.split("\n") if line.startswith("| ViT trained here on scenes"))
    value, _, n = (cell.strip() for cell in row.split("|")[2:5])
    assert n == "6" and float(value) >= 4 / 6
    assert "1 picture is of classes that the model does not know ('yeti')" in words


def test_labels_that_do_not_match_are_a_sentence_and_times_are_measured(visit: Visit) -> None:
    session = measured(upload(opened(visit), zipped({"yeti/1.png": generate_scene(1).png()})))
    words = said(session)
    assert "knows none of the classes of pets-b.zip ('yeti')" in words
    assert "Name them as the model does" in words
    assert session.dataframe[0].value["p50"][0].split()[1].startswith("ms")


def test_ten_thousand_files_are_counted_and_more_are_refused(visit: Visit) -> None:
    picture = generate_scene(1).png()[:64]  # only its name is read before it is its turn
    files = {f"ring/{number}.png": picture for number in range(10_000)}
    session = upload(opened(visit), zipped(files))
    assert not session.error and "10,000 pictures of 1 classes" in said(session)
    assert not session.button(key="bench_full_start").disabled
    session = upload(session, zipped({**files, "ring/more.png": picture}))
    message = session.error[0].value.replace("\\", "")
    assert "holds 10,001 pictures." in message and "Give at most 10,000" in message
    assert not [one for one in session.button if one.key == "bench_full_start"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"1.png": b"x"}, "has no class"),
        ({"readme.txt": b"x"}, "holds no picture"),
        ({"../ring/1.png": b"x"}, "leads outside"),
    ],
)
def test_a_zip_that_cannot_be_used_says_why(visit: Visit, files: dict[str, bytes], sentence: str) -> None:
    session = upload(opened(visit), zipped(files))
    assert sentence in session.error[0].value.replace("\\", "") and not session.exception


def test_a_public_deployment_takes_no_zip(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    session = visit(PAGE)
    session.session_state["bench_view"] = "Benchmark"
    session.run()
    assert "Labelled zip" not in session.segmented_control(key="bench_full_truths").options
    assert not session.exception
