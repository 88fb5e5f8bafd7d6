"""Accuracy: right counts, honest intervals, and pictures on which a model breaks."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from core.bench.accuracy import Accuracy, AccuracyRun, measure_accuracy
from core.bench.options import Options
from core.bench.scorers import _nearest_alike
from core.bench.statistics import wilson
from core.bench.subjects import load_subject, subject_of
from core.bench.truths import MAX_LABELLED, TASKS, labelled_truths, open_truths, scene_truths
from core.bench.vision_subjects import ClassSubject, FeatureSubject
from core.errors import InputError
from core.images import encode_png
from core.registry import resolve
from core.scenes import CLASSES
from core.segment.evaluate import evaluate_object
from core.segment.segmenter import embed
from core.vlm.datasets.archive import zip_items
from core.vlm.datasets.values import Item, Items
from core.vlm.scoring import score
from core.vlm.tasks import TASKS as VLM_TASKS
from tests.support.vision import timm_model, vision_model

COLOURS = {"red": (220, 10, 10), "green": (10, 220, 10), "blue": (10, 10, 220)}
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


class ByColour(nn.Module):
    """Says the strongest channel; raises on white, and loses its numbers on black."""

    def forward(self, pixels: Tensor) -> Tensor:
        means = pixels.mean(dim=(2, 3))  # B 3
        if means.min() > 0.9:
            raise RuntimeError("white is too bright")
        return means * torch.nan if means.max() < -0.9 else means


def colour_subject(labels: tuple[str, ...] = ("red", "green, verdant", "blue")) -> ClassSubject:
    subject = subject_of(vision_model(ByColour(), depth=1, heads=1, labels=labels), Options())
    assert isinstance(subject, ClassSubject)
    return subject


def picture(colour: tuple[int, int, int]) -> bytes:
    return encode_png(np.full((64, 64, 3), colour, np.uint8))


def zipped(table: str = "", **files: bytes) -> Items:
    """Return a zip; `red__1` is the file red/1.png."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/") + ".png", data)
        if table:
            archive.writestr("labels.csv", table)
    return zip_items(file, "colours.zip")


def colours(**changes: bytes) -> Items:
    return zipped(**{f"{name}__1": picture(rgb) for name, rgb in COLOURS.items()}, **changes)


def by_name(found: Accuracy) -> dict[str, float]:
    return {metric.name: metric.value for metric in found.metrics()}


def test_right_and_wrong_classes_are_counted_with_wilsons_interval() -> None:
    found = measure_accuracy(colour_subject(), labelled_truths(colours(blue__2=picture(COLOURS["red"]))))
    top1, top5 = found.scores
    assert (top1.name, top1.interval) == ("top1", wilson(3, 4))
    assert (top5.name, top5.interval) == ("top5", wilson(4, 4))  # three classes: all are among five
    assert top1.chance == pytest.approx(1 / 3) and top5.chance == 1.0
    assert (found.pictures, found.failed, found.note) == (4, 0, "")


def test_pictures_that_break_are_failures_and_the_others_are_measured() -> None:
    broken = {"red__2": picture(WHITE), "red__3": picture(BLACK), "red__4": b"\x89PNG\r\n\x1a\nno picture"}
    found = measure_accuracy(colour_subject(), labelled_truths(colours(**broken)))
    assert found.scores[0].interval == wilson(3, 3)
    assert (found.pictures, found.failed) == (6, 3)
    told = {one.item_id: (one.error_class, one.message) for one in found.failures}
    assert told["red/2.png"] == ("RuntimeError", "white is too bright")
    assert told["red/3.png"][0] == told["red/4.png"][0] == "InputError"
    assert "not finite" in told["red/3.png"][1]


def test_when_every_picture_breaks_there_is_no_score_and_a_sentence() -> None:
    found = measure_accuracy(colour_subject(), labelled_truths(zipped(red__1=picture(WHITE))))
    assert (found.scores, found.failed, found.note) == ((), 1, "No picture could be measured.")


def test_classes_that_the_model_does_not_know_are_left_out_and_told() -> None:
    items = colours(mauve__1=picture(WHITE), mauve__2=picture(WHITE))
    found = measure_accuracy(colour_subject(), labelled_truths(items))
    assert found.scores[0].interval.n == 3 and found.failed == 0
    assert found.note.startswith("2 pictures are of classes that the model does not know ('mauve')")


def test_one_of_several_names_of_a_label_is_enough() -> None:
    found = measure_accuracy(colour_subject(), labelled_truths(zipped(Verdant__1=picture(COLOURS["green"]))))
    assert found.scores[0].interval == wilson(1, 1)


def test_a_set_whose_classes_the_model_knows_none_of_gives_a_note_and_runs_nothing() -> None:
    run = AccuracyRun(colour_subject(("cat", "dog")), labelled_truths(colours()))
    assert run.left == 0
    run.step()
    found = run.result()
    assert (found.scores, found.pictures, found.failed) == ((), 0, 0)
    assert "knows none of the classes of colours.zip" in found.note and "'cat'" in found.note


def test_a_name_that_is_the_same_by_chance_is_no_class_of_scenes() -> None:
    found = measure_accuracy(colour_subject(("cliff, drop, drop-off", "tench", "hen")), scene_truths(3))
    assert found.scores == () and "does not know 11 of the 12 classes of scenes:3@0" in found.note


def test_pictures_without_a_class_give_a_note() -> None:
    found = measure_accuracy(colour_subject(), labelled_truths(zipped(alone=picture(WHITE))))
    assert found.note.startswith("alone.png has no class.")


@pytest.mark.parametrize("n", [2, 7, 1500])
def test_the_nearest_other_picture_is_scikit_learns(n: int) -> None:
    rng = np.random.default_rng(n)
    vectors = rng.standard_normal((n, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = rng.choice(["a", "b", "c"], n).tolist()
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectors).kneighbors(return_distance=False)
    expected = [labels[other] == label for label, (other,) in zip(labels, nearest, strict=True)]
    assert _nearest_alike(vectors, labels).tolist() == expected


def feature_subject() -> FeatureSubject:
    subject = subject_of(timm_model("vit_tiny_patch16_224", num_classes=0), Options())
    assert isinstance(subject, FeatureSubject)
    return subject


def test_recall_is_whole_where_a_class_looks_alike_and_nothing_where_it_does_not() -> None:
    alike = {f"{name}__{n}": picture(rgb) for name, rgb in COLOURS.items() for n in (1, 2)}
    found = measure_accuracy(feature_subject(), labelled_truths(zipped(**alike)))
    (recall,) = found.scores
    assert (recall.name, recall.interval.value, recall.interval.n) == ("recall1", 1.0, 6)
    assert recall.chance == pytest.approx(1 / 5)
    shuffled = {f"class{n}__{name}": picture(rgb) for name, rgb in COLOURS.items() for n in (1, 2)}
    found = measure_accuracy(feature_subject(), labelled_truths(zipped(**shuffled)))
    assert found.scores[0].interval.value == 0.0


def test_a_class_of_one_picture_does_not_count_for_recall() -> None:
    items = zipped(red__1=picture(COLOURS["red"]), red__2=picture(COLOURS["red"]), odd__1=picture(WHITE))
    found = measure_accuracy(feature_subject(), labelled_truths(items))
    assert found.scores[0].interval.n == 2 and found.note == "1 class has one picture alone."
    found = measure_accuracy(feature_subject(), labelled_truths(colours()))
    assert found.scores == () and found.note.startswith("No class has two pictures")
    found = measure_accuracy(feature_subject(), labelled_truths(zipped(red__1=b"nothing")))
    assert (found.failed, found.note) == (1, "No picture could be measured.")


def test_masks_are_those_of_the_segmenters_own_evaluation() -> None:
    spec, truths = resolve("shipped/sam-scenes", "segmentation"), scene_truths(2)
    subject = load_subject(spec, Options(), "cpu").subject
    found = measure_accuracy(subject, truths)
    clicked, boxed = [], []
    for truth in map(truths.at, range(2)):
        image = truth.load()
        rng, embedding = np.random.default_rng([int(image.sha256[:8], 16)]), embed(subject.model, image)
        each = [evaluate_object(subject.model, embedding, mask, 1, rng) for mask in truth.masks]
        clicked.append(np.mean([one.iou[0] for one in each]))
        boxed.append(np.mean([one.box_iou for one in each]))
    measured = by_name(found)
    assert measured["miou_click"] == pytest.approx(np.mean(clicked))
    assert measured["miou_box"] == pytest.approx(np.mean(boxed)) and measured["miou_box"] > 0.5
    without = measure_accuracy(subject, labelled_truths(colours()))
    assert without.scores == () and "has no masks" in without.note


def test_captions_are_scored_as_in_the_comparison_of_vlms() -> None:
    subject = load_subject(resolve("shipped/captioner-small", "vlm"), Options(), "cpu").subject
    truth, usual = scene_truths(1).at(0), subject.prompt
    measured = by_name(measure_accuracy(subject, scene_truths(1)))
    for task, name, inside in (("caption", "caption_chrf", "chrf"), ("objects", "objects_f1", "f1")):
        said = subject.model.generate(
            truth.load(),
            VLM_TASKS[task].prompt,
            max_tokens=64,
            temperature=0.0,
            on_text=lambda _: None,
            cancelled=lambda: False,
        )
        assert measured[name] == pytest.approx(score(task, said.text, truth.references[task]).value(inside))
    assert subject.prompt == usual
    table = "image,task,reference\nred/1.png,caption,A red square.\n"
    items = zipped(table, blue__1=picture(COLOURS["blue"]), red__1=picture(COLOURS["red"]))
    assert "caption_chrf" in by_name(measure_accuracy(subject, labelled_truths(items)))
    assert "has no captions" in measure_accuracy(subject, labelled_truths(colours())).note


def test_a_scene_classifier_on_scenes_picture_by_picture() -> None:
    subject = load_subject(resolve("shipped/vit-scenes"), Options(), "cpu").subject
    run = AccuracyRun(subject, scene_truths(8))
    assert (run.done, run.left) == (0, 8)
    run.step()
    assert (run.done, run.left) == (1, 7) and run.result().scores[0].interval.n == 1
    while run.left:
        run.step()
    run.step()  # nothing is left to do
    found = run.result()
    assert found.pictures == 8 and found.scores[0].interval.value >= 0.75  # 0.98 over many
    measured = by_name(found)
    assert measured["top1_low"] < measured["top1"] <= measured["top1_high"] and measured["top1_n"] == 8
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["scores"][0]["name"] == "top1" and told["digest"] == scene_truths(8).digest


def test_scenes_are_known_exactly_and_never_those_of_another_seed() -> None:
    truths = open_truths("scenes:3@4")
    assert len(truths) == 3 and truths.classes() == CLASSES
    truth = truths.at(1)
    assert truth.label() in CLASSES and set(truth.references) == set(TASKS)
    assert all(mask.shape == truth.load().rgb.shape[:2] for mask in truth.masks)
    assert truths.at(1).load().sha256 == truth.load().sha256 != scene_truths(3, 5).at(1).load().sha256
    with pytest.raises(InputError, match="There are no 0 scenes"):
        scene_truths(0)


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    whole = scene_truths(50)
    part = whole.sample(10, seed=1)
    assert list(part.ids) == list(whole.sample(10, seed=1).ids) == sorted(part.ids, key=whole.ids.index)
    assert len(part) == len(set(part.ids)) == 10 and part.at(3).id == part.ids[3]
    assert part.digest != whole.digest != whole.sample(10, seed=2).digest
    assert whole.sample(80) is whole
    with pytest.raises(InputError, match="0 pictures"):
        whole.sample(0)


def test_a_larger_set_than_is_taken() -> None:
    ids = [f"red/{n}.png" for n in range(MAX_LABELLED + 1)]
    items = Items("large.zip", "digest", ids, lambda at: Item(ids[at], lambda: Image.new("RGB", (1, 1))))
    with pytest.raises(InputError, match="10,001 pictures"):
        labelled_truths(items)
