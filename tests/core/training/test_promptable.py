"""Training of a promptable segmenter: its parts are right, it learns, and it goes on after a stop."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoints import Card, load_into, read_card, read_weights
from core.errors import InputError
from core.runs import Metric, RunDraft
from core.samples import HELD_OUT, photographs
from core.scenes import generate_scene
from core.segment import Point, Prompts, decode, embed
from core.segment.evaluate import evaluate, truth_pictures
from core.segment.scores import Evaluation, ObjectScore, summarise
from core.segment.small_sam import build_small_sam
from core.training.promptable import learn
from core.training.promptable.config import PromptableConfig
from core.training.promptable.data import TRAIN_SEEDS, PromptableBatch, draw_batch
from core.training.promptable.learn import batch_loss, decode_rows, first_prompts, mask_iou, mask_loss
from core.training.promptable.recipe import as_segmenter, describe_data, describe_scores
from core.training.promptable.train import train_sam

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

TINY: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "prompt_dim": 16,
    "steps": 6,
    "batch_size": 2,
    "objects": 2,
    "rounds": 2,
    "test_pictures": 1,
    "report_every": 2,
    "save_every": 1,
    "threads": 1,
}
SIDE = TINY["image_size"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model is faster without threads, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_in(folder: Path, **changes: Any) -> PromptableConfig:
    return PromptableConfig(
        **(TINY | {"out": folder / "tiny.safetensors", "work": folder / "work"} | changes)
    )


def tiny_sam(seed: int = 0) -> "Sam":
    torch.manual_seed(seed)
    return build_small_sam(64, 8, dim=16, depth=1, heads=2, prompt_dim=16)


def a_batch(seed: int = 0, step: int = 0, plain_share: float = 0.3, count: int = 2) -> PromptableBatch:
    return draw_batch(seed, step, count, 2, SIDE, plain_share, photographs())


@dataclass
class Diary:
    """A store that remembers in memory what it was told."""

    runs: dict[str, RunDraft] = field(default_factory=dict)
    rows: list[tuple[str, Metric]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)

    def record(self, run: RunDraft) -> str:
        raise AssertionError("a training is started and finished, not recorded at once")

    def start(self, run: RunDraft) -> str:
        self.runs[f"run-{len(self.runs)}"] = run
        return f"run-{len(self.runs) - 1}"

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        self.rows += [(run_id, metric) for metric in metrics]

    def finish(self, run_id: str, **outcome: Any) -> None:
        self.ends.append({"run_id": run_id} | outcome)

    def curve(self, run_id: str, name: str) -> list[float]:
        return [metric.value for run, metric in self.rows if run == run_id and metric.name == name]


class Interrupted(Diary):
    """A store that is stopped by the keyboard when it hears of the second report."""

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        super().log(run_id, metrics)
        if any(metric.step == 2 for metric in metrics):
            raise KeyboardInterrupt


def test_a_fixed_picture_is_learned_better_than_any_answer_that_does_not_look() -> None:
    sam, batch = tiny_sam(), a_batch(step=1, plain_share=1.0, count=1)
    blind = [
        mask_loss(torch.full((2, 4, 32, 32), logit), batch.truth.float(), torch.zeros(2, 4)).item()
        for logit in np.arange(-6, 2, 0.25).tolist()
    ]
    optimizer = torch.optim.AdamW(sam.parameters(), lr=5e-3)
    for _ in range(100):
        torch.manual_seed(1)
        found = batch_loss(sam, batch, rounds=1)
        optimizer.zero_grad()
        found.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert found.loss < min(blind) / 2
    assert found.click_iou > 0.6 and found.box_iou > 0.6


def test_after_a_stop_it_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    undisturbed = train_sam(config_in(tmp_path / "whole"), progress=False)
    config, first, second = config_in(tmp_path / "stopped"), Interrupted(), Diary()
    with pytest.raises(KeyboardInterrupt):
        train_sam(config, first, progress=False)
    assert first.ends[0]["status"] == "cancelled" and config.state_path.exists()
    resumed = train_sam(replace(config, resume=True), second, progress=False)
    assert resumed.card.sha256 == undisturbed.card.sha256
    losses = [report.loss for report in undisturbed.history]
    assert len(losses) == 3 and second.curve(resumed.run_id, "loss") == losses
    assert second.runs[resumed.run_id].parameters["resumed_from"] == "run-0"
    assert second.ends[0]["metrics"] == [Metric("test_iou", resumed.card.score.value)]
    assert not config.state_path.exists()


def test_a_training_of_other_settings_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_sam(config_in(tmp_path), Interrupted(), progress=False)
    with pytest.raises(InputError, match="another dim"):
        train_sam(config_in(tmp_path, resume=True, dim=32), progress=False)


def test_the_card_rebuilds_the_model_that_was_measured(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    result = train_sam(config, command="python -m core train sam", progress=False)
    card = read_card(result.checkpoint)
    assert card == result.card and isinstance(card, Card)
    assert (card.kind, card.architecture.class_name, card.labels) == ("segmentation", "Sam", ())
    sam = build_small_sam(**card.architecture.arguments).eval()
    load_into(sam, read_weights(result.checkpoint, card.sha256))
    found = evaluate(as_segmenter(config, sam), truth_pictures(1, 0), clicks=3, objects_per_picture=3)
    assert card.score.value == pytest.approx(found.overall.mean_iou[0], abs=1e-6)
    assert card.score.name == "mean IoU after one click" and card.score.n == 3
    values = {score.name: score.value for score in card.further}
    assert values["mean IoU after three clicks"] == pytest.approx(found.overall.mean_iou[2], abs=1e-6)
    by_box = found.by_kind["cutouts"].box_mean_iou
    assert values["mean IoU by the exact box on cutouts"] == pytest.approx(by_box, abs=1e-6)
    assert all(name in card.data for name in HELD_OUT) and "12 pictures" in card.data


def test_the_card_gives_pixels_as_the_model_takes_them(tmp_path: Path) -> None:
    config = config_in(tmp_path, steps=1)
    taken = train_sam(config, progress=False).card.input
    sam = build_small_sam(**config.architecture())
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE))).float()
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (taken.mean, taken.std))
    torch.testing.assert_close((pixels / 255 - mean) / std, sam.preprocess(pixels))
    assert (taken.height, taken.width) == (SIDE, SIDE)


def test_a_correlation_that_a_card_cannot_hold_is_left_out() -> None:
    def scores(predicted: float) -> list[str]:
        rows = tuple(
            ObjectScore((0.2, 0.3, 0.4), (predicted, 0.5, 0.6), 0.9, 0.7, 1.0, "plain", number)
            for number in range(2)
        )
        summary = summarise(rows)
        found = Evaluation(3, 0, rows, summary, {"plain": summary}, 1.0, 1.0)
        return [score.name for score in describe_scores(found)]

    name = "correlation of predicted with true IoU"
    assert {name, f"{name} on plain"} < set(scores(0.4))
    assert not any(name in found for found in scores(5.0))  # the worst answer is thought best


def test_the_description_counts_what_was_seen(tmp_path: Path) -> None:
    said = describe_data(config_in(tmp_path, steps=500, batch_size=12, plain_share=0.25, seed=3))
    assert "6,000 pictures" in said and "25% generated" in said and "75% crowded" in said
    assert str(TRAIN_SEEDS + 3 * 10**9) in said


def test_the_loss_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits, predicted = rng.normal(0, 2, (2, 4, 2, 3)), rng.uniform(0, 1, (2, 4))
    truth = rng.integers(0, 2, (2, 2, 3))
    total = 0.0
    for n in range(2):
        each, errors = [], []
        for m in range(4):
            focal = overlap = probabilities = both = either = 0.0
            for logit, inside in zip(logits[n, m].ravel(), truth[n].ravel(), strict=True):
                p = 1 / (1 + math.exp(-logit))
                right, alpha = (p, 0.25) if inside else (1 - p, 0.75)
                focal += -alpha * (1 - right) ** 2 * math.log(right) / 6
                overlap += p * inside
                probabilities += p
                both += (logit > 0) and bool(inside)
                either += (logit > 0) or bool(inside)
            dice = 1 - (2 * overlap + 1) / (probabilities + truth[n].sum() + 1)
            each.append(20 * focal + dice)
            errors.append((predicted[n, m] - both / max(either, 1)) ** 2)
        total += (each[0] + min(each[1:]) + sum(errors) / 4) / 2
    tensors = (torch.tensor(values, dtype=torch.float64) for values in (logits, truth, predicted))
    assert mask_loss(*tensors).item() == pytest.approx(total)


def test_only_the_best_of_three_masks_learns() -> None:
    truth = torch.zeros(1, 4, 4)
    truth[:, :2] = 1
    logits = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    logits[:, 2] = (truth * 2 - 1) * 2  # fits
    logits.requires_grad_()
    mask_loss(logits, truth, torch.zeros(1, 4)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[0].flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True, False]


def test_the_iou_of_masks_is_counted() -> None:
    masks = torch.tensor([[[[1, 1, 0, 0]], [[0, 0, 0, 0]]]]).bool()
    assert mask_iou(masks, torch.tensor([[[0, 1, 1, 0]]]).bool()).tolist() == [[pytest.approx(1 / 3), 0.0]]


@pytest.mark.parametrize("kind", ["points", "box", "all"])
def test_rows_of_many_pictures_are_decoded_as_the_mask_decoder_does_one_by_one(kind: str) -> None:
    sam = tiny_sam().eval()
    made = torch.Generator().manual_seed(3)
    embeddings = torch.randn(3, 16, 8, 8, generator=made)
    points = torch.rand(3, 2, 2, generator=made) * SIDE
    corners = torch.rand(3, 2, generator=made) * 30
    boxes = torch.cat((corners, corners + 20), dim=1)
    prompts = learn.Prompts(
        points if kind != "box" else points[:, :0],
        torch.tensor([[1.0, 0.0]] * 3) if kind != "box" else torch.zeros(3, 0),
        boxes if kind != "points" else None,
        torch.randn(3, 1, 32, 32, generator=made) if kind == "all" else None,
    )
    with torch.inference_mode():
        masks, predicted = decode_rows(sam, embeddings, prompts)
        for row in range(3):
            given = (prompts.points[row : row + 1], prompts.labels[row : row + 1])
            sparse, dense = sam.prompt_encoder(
                points=given if kind != "box" else None,
                boxes=None if prompts.boxes is None else prompts.boxes[row : row + 1],
                masks=None if prompts.logits is None else prompts.logits[row : row + 1],
            )
            for several, part in ((False, slice(0, 1)), (True, slice(1, 4))):
                expected = sam.mask_decoder(
                    image_embeddings=embeddings[row : row + 1],
                    image_pe=sam.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=several,
                )
                torch.testing.assert_close(masks[row : row + 1, part], expected[0], atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(predicted[row : row + 1, part], expected[1], atol=1e-4, rtol=1e-4)


def test_the_first_click_is_inside_and_the_box_is_around() -> None:
    truth = a_batch(count=8).truth  # 16 32 32
    torch.manual_seed(0)
    for _ in range(20):
        clicked = first_prompts(truth, by_box=False, scale=2.0)
        at = (clicked.points[:, 0] / 2).long()
        assert truth[torch.arange(16), at[:, 1], at[:, 0]].all() and clicked.labels.eq(1).all()
    boxes = torch.stack([first_prompts(truth, by_box=True, scale=2.0).boxes for _ in range(60)])  # type: ignore[misc]
    for row, mask in enumerate(truth.numpy()):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        exact = [2 * columns[0], 2 * rows[0], 2 * columns[-1] + 2, 2 * rows[-1] + 2]
        assert boxes[:, row].median(dim=0).values.tolist() == pytest.approx(exact, abs=2)
    assert boxes.min() >= 0 and boxes.max() <= SIDE


def test_the_next_click_falls_into_the_error_with_the_label_that_mends_it() -> None:
    truth = a_batch(count=8).truth
    mask = truth.roll((3, -2), dims=(1, 2))
    prompts = first_prompts(truth, by_box=False, scale=2.0)
    torch.manual_seed(0)
    labels = set()
    for _ in range(20):
        following = learn.next_click(prompts, mask, truth, scale=2.0)
        assert torch.equal(following.points[:, :1], prompts.points) and following.points.shape == (16, 2, 2)
        at = (following.points[:, 1] / 2).long()
        row = torch.arange(16)
        inside = truth[row, at[:, 1], at[:, 0]]
        assert (inside != mask[row, at[:, 1], at[:, 0]]).all()
        assert torch.equal(following.labels[:, 1], inside.float())
        labels |= set(following.labels[:, 1].tolist())
    assert labels == {0.0, 1.0}


def test_where_nothing_is_wrong_the_next_click_is_inside() -> None:
    truth = a_batch().truth
    following = learn.next_click(first_prompts(truth, True, 2.0), truth, truth, scale=2.0)
    at = (following.points[:, 0] / 2).long()
    assert truth[torch.arange(len(truth)), at[:, 1], at[:, 0]].all() and following.labels.eq(1).all()


def test_a_step_draws_the_same_pictures_each_time_and_others_in_another_step() -> None:
    one, again = a_batch(1, 5), a_batch(1, 5)
    assert torch.equal(one.pixels, again.pixels) and torch.equal(one.truth, again.truth)
    assert torch.equal(one.picture, again.picture)
    for other in (a_batch(1, 6), a_batch(2, 5)):
        assert not torch.equal(one.pixels, other.pixels)


def test_objects_lie_in_their_pictures() -> None:
    batch = a_batch(plain_share=0.0, count=40)
    assert batch.pixels.shape == (40, 3, SIDE, SIDE) and batch.truth.shape == (80, 32, 32)
    assert batch.picture.tolist() == [number // 2 for number in range(80)]
    seen = batch.pixels.abs().sum(dim=1) > 0  # no colour is the mean exactly, so 0 is beyond the picture
    assert 0 < (~seen).flatten(1).any(dim=1).sum() < 40
    for mask, picture in zip(batch.truth, batch.picture, strict=True):
        assert mask.any()
        enlarged = mask.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
        rows = seen[picture].any(dim=1).sum() + 1, seen[picture].any(dim=0).sum() + 1  # an odd last row
        assert not enlarged[rows[0] :].any() and not enlarged[:, rows[1] :].any()


def test_the_objects_of_a_plain_scene_are_those_of_the_scene() -> None:
    batch = draw_batch(4, 2, 3, 4, SIDE, 1.0, photographs())
    for place in range(3):
        scene = generate_scene(TRAIN_SEEDS + 4 * 10**9 + 2 * 3 + place)
        half = [
            np.asarray(Image.fromarray(item.mask).resize((SIDE // 2, SIDE // 2))) for item in scene.objects
        ]
        for mask in batch.truth[batch.picture == place].numpy():
            assert max((mask & item).sum() / (mask | item).sum() for item in half) > 0.7


def test_a_trained_model_is_prompted_as_the_app_does(tmp_path: Path) -> None:
    """What training sees (a normalised picture, its pixels) is what `embed` makes of the same picture."""
    config = config_in(tmp_path)
    sam = tiny_sam().eval()
    picture = next(iter(truth_pictures(1, 0)))
    model = as_segmenter(config, sam)
    embedding = embed(model, picture.image)
    masks = decode(model, embedding, Prompts((Point(100.0, 60.0),)))
    scale = SIDE / picture.image.width
    prompts = learn.Prompts(torch.tensor([[[100.0, 60.0]]]) * scale, torch.ones(1, 1), None)
    with torch.inference_mode():
        low, predicted = decode_rows(sam, embedding.tensors[0], prompts)
    np.testing.assert_allclose(masks.low_res, low[0, 1:].numpy(), atol=1e-4)
    np.testing.assert_allclose(masks.predicted_iou, predicted[0, 1:].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"objects": 3}, {"lr": 0.0}, {"image_size": 60}, {"dim": 15}, {"plain_share": 1.5}],
    ids=str,
)
def test_options_of_no_use_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"option {next(iter(change))} is"):
        config_in(tmp_path, **change)
