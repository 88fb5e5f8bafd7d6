"""One model on one picture: what its run holds, and what becomes of pictures that the model does not take."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch

from core.bench.cells import Cell, measure_cell, measure_item
from core.bench.machine import machine_state
from core.bench.measuring import Measuring
from core.bench.options import Options
from core.bench.pictures import load_picture
from core.bench.results import ANSWERS, SAMPLES, throughput
from core.bench.vision_subjects import ClassSubject
from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.registry import resolve
from core.runs import RunDraft
from core.samples import load_sample

VIT = "shipped/vit-scenes"
QUICK = Options(batches=(1, 2), seconds=0.2)


def numbers(run: RunDraft) -> dict[str, float]:
    return {metric.name: metric.value for metric in run.metrics}


def artifact(run: RunDraft, name: str) -> dict[str, object]:
    (found,) = (one for one in run.artifacts if one.name == name)
    value: dict[str, object] = json.loads(found.data)
    return value


def test_pictures_have_names_that_travel() -> None:
    image = load_sample("scene/3")
    assert load_picture("3").sha256 == load_picture("scene/3").sha256 == image.sha256
    assert load_picture(image.sha256, {image.sha256: image.data}).sha256 == image.sha256
    for given in ({}, {image.sha256: b"other bytes"}):
        with pytest.raises(InputError, match="is not here"):
            load_picture(image.sha256, given)
    with pytest.raises(InputError):
        load_picture("../../etc/passwd")


def test_the_run_of_a_cell_agrees_with_its_samples() -> None:
    run = measure_item(VIT, json.dumps({"picture": "scene/3", "options": QUICK.to_json()}))
    assert (run.kind, run.status, run.model_id) == ("benchmark", "ok", VIT)
    assert run.parameters["cell"]["picture"] == "scene/3"
    assert Options.from_json(run.parameters["options"]) == QUICK
    found, kept = numbers(run), artifact(run, SAMPLES)
    stages = np.array(kept["pictures"]["scene/3"])  # type: ignore[index]
    assert found["samples"] == len(stages) >= 1
    assert found["p50_ms"] == pytest.approx(median(stages.sum(axis=1)), abs=1e-2)
    assert found["model_ms"] == pytest.approx(median(stages[:, 1]), abs=1e-2)
    assert found["first_ms"] == pytest.approx(kept["warm_up"][0], abs=1e-2)  # type: ignore[index]
    passes = kept["batches"]["2"]  # type: ignore[index]
    assert found["images_per_s_batch_2"] == pytest.approx(2000 / np.mean(passes), rel=1e-2)
    assert found["parameters"] == resolve(VIT).parameters
    assert found["macs"] > 50e6
    assert 100 < found["base_memory_mb"] <= found["peak_memory_mb"]  # what others left may hold this model
    assert all(math.isfinite(value) for value in found.values())
    assert "ell" in artifact(run, ANSWERS)["scene/3"]["names"]  # type: ignore[index]
    before = run.parameters["machine"]["before"]
    assert before["processors"] >= 1
    json.dumps(dict(run.parameters), allow_nan=False)


def test_threads_are_as_asked_and_are_given_back() -> None:
    was = torch.get_num_threads()
    run = measure_cell(Cell(VIT, "3", Options(threads=was + 1, seconds=0.01)), device="cpu")
    assert run.environment.threads == was + 1
    assert torch.get_num_threads() == was


class Fussy(ClassSubject):
    """A classifier that cannot take small pictures."""

    def preprocess(self, images: Sequence[ImageInput]) -> torch.Tensor:
        if any(image.height < 100 for image in images):
            raise RuntimeError("too small for me")
        return super().preprocess(images)


def test_a_picture_on_which_the_model_raises_is_no_other_pictures_failure() -> None:
    measuring = Measuring(resolve(VIT), Options(), "cpu")
    measuring.subject = Fussy(measuring.subject.model, Options())
    good, small = load_sample("scene/3"), from_rgb(np.zeros((10, 10, 3), np.uint8), "small")
    with pytest.raises(RuntimeError, match="too small"):
        measuring.warm_up(small, 0.0)
    samples, raised = measuring.turn({"a": good, "small": small, "b": good}, 0.0, at_least=4, at_most=9)
    assert [name for name, _ in samples] == ["a", "b", "a", "b"], "in turn"
    assert list(raised) == ["small"]
    again, _ = measuring.turn({"b": good, "a": good}, 0.0, at_least=1, at_most=9)
    assert [name for name, _ in again] == ["a"], "it goes on where it ended"


def test_what_the_device_cannot_do_in_a_precision_is_said_in_a_sentence() -> None:
    halved = Measuring(resolve(VIT), Options(precision="fp16"), "cpu")
    halved.subject = Fussy(halved.subject.model, Options(precision="fp16"))
    with pytest.raises(InputError, match="cannot run in fp16 on cpu") as raised:
        halved.warm_up(from_rgb(np.zeros((10, 10, 3), np.uint8), "small"), 0.0)
    assert "fp32" in raised.value.remedy


def test_what_is_no_cell_is_refused() -> None:
    cell = Cell(VIT, "3", QUICK)
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    for raw in ({}, {"model_id": VIT}, {**cell.to_json(), "options": 3}):
        with pytest.raises(InputError):
            Cell.from_json(raw)
    with pytest.raises(InputError, match="no model"):
        measure_cell(replace(cell, model_id="nothing"))
    with pytest.raises(InputError, match="no sample"):
        measure_cell(replace(cell, picture="nothing"))


def test_throughput_has_the_ends_of_its_mean() -> None:
    value, low, high = throughput(4, [100.0, 200.0, 300.0])
    assert value == pytest.approx(20.0)
    assert low is not None
    assert high is not None
    assert 4000 / 300 <= low <= value <= high <= 4000 / 100
    assert throughput(1, [10.0]) == (100.0, None, None)


def test_the_machine_is_described() -> None:
    state = machine_state()
    assert state.available_mb > 0
    assert state.load is None or state.load >= 0
