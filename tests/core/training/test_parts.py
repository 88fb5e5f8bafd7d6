"""The parts of a training: schedule, optimiser, start, batches, pool of scenes."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from core.nn import MultiHeadAttention, VisionTransformer
from core.scenes import CLASSES, generate_scene
from core.training.data import Pictures, digits, drawn, make_batch, normalise
from core.training.initialise import initialise
from core.training.loop import make_optimizers
from core.training.muon import Muon, orthogonalised
from core.training.scene_pool import cached_pool, generate_pool, labelled_scene
from core.training.schedule import warmup_cosine


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    rates = [warmup_cosine(step, 110, 10) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[60] == pytest.approx(0.5)  # half way down
    assert rates[35] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rates[110] == 0 and all(a >= b for a, b in itertools.pairwise(rates[10:]))


@pytest.mark.parametrize("shape", [(8, 8), (16, 4), (4, 16), (3, 12, 5)])
def test_orthogonalising_keeps_directions_and_evens_their_lengths(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ orthogonalised(matrices) @ vh.mT
    lengths = inner.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(inner, torch.diag_embed(lengths), atol=1e-6, rtol=0)
    assert lengths.min() > 0.3 and lengths.max() < 1.3  # tiny singular values need more iterations


def test_muon_finds_the_minimum_of_a_quadratic() -> None:
    torch.manual_seed(0)
    target, weight = torch.randn(6, 4), nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
    assert (weight - target).abs().max() < 0.05


def test_every_parameter_has_one_optimiser_and_only_matrices_decay() -> None:
    from core.training.loop import Learner

    learner = Learner(VisionTransformer(16, 8, 3, 8, 2, 2, 16), dense=True)
    groups = [g for optimizer in make_optimizers(learner, 1e-3, 0.05) for g in optimizer.param_groups]
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(decay) == len(list(learner.parameters()))
    for name, parameter in learner.named_parameters():
        is_plain = parameter.ndim == 1 or "position" in name or "cls_token" in name
        assert decay[id(parameter)] == (0.0 if is_plain else 0.05), name


def test_the_start_looks_at_like_tokens_and_takes_them_away() -> None:
    torch.manual_seed(0)
    vit = VisionTransformer(32, 8, 3, 64, 1, 2, 128)
    initialise(vit.requires_grad_(False))
    attention = next(layer for layer in vit.modules() if isinstance(layer, MultiHeadAttention))
    query, key, value = attention.qkv.weight.view(3, 64, 64)
    for head in (slice(0, 32), slice(32, 64)):
        product = query[head].T @ key[head]
        assert product.diagonal().mean() > 3 * product.std()
    assert (value.T @ attention.proj.weight.T).diagonal().mean() == pytest.approx(-0.4, abs=0.05)
    cells = vit.position.weight[0, 1:].view(4, 4, 64)
    near, far = (cells[0, 0] @ cells[0, 1]).item(), (cells[0, 0] @ cells[3, 3]).item()
    assert near > far


@given(size=st.integers(1, 30), start=st.integers(0, 100), count=st.integers(1, 50))
def test_each_pass_draws_each_picture_once_wherever_one_starts(size: int, start: int, count: int) -> None:
    everything = drawn(size, 3, 0, start + count)
    assert (drawn(size, 3, start, count) == everything[start:]).all()
    for first in range(0, start + count - size + 1, size):
        assert sorted(everything[first : first + size]) == list(range(size))


def pictures(count: int = 4) -> Pictures:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    classes = rng.integers(0, 4, (count, 4, 4)).astype(np.uint8)
    largest = np.zeros((count, 4, 4), dtype=bool)
    largest[0, 0, 3] = largest[1, 1:3, 1:3] = largest[2, 3, :2] = True
    return Pictures(rgb, np.arange(count) % 3, ("a", "b", "c"), classes, largest)


def test_a_batch_holds_the_pictures_normalised() -> None:
    batch = make_batch(pictures(), np.array([2, 0]))
    expected = pictures().rgb[[2, 0]].transpose(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(batch.pixels, torch.tensor(expected, dtype=torch.float32))
    assert batch.labels.tolist() == [2, 0]
    torch.testing.assert_close(
        normalise(pictures().rgb[:1])[0], make_batch(pictures(), np.array([0])).pixels[0]
    )


def test_recolouring_only_swaps_channels() -> None:
    data = pictures(64)
    plain = make_batch(data, np.arange(64)).pixels
    recoloured = make_batch(data, np.arange(64), np.random.default_rng(1)).pixels
    torch.testing.assert_close(plain.sort(dim=1).values, recoloured.sort(dim=1).values)
    assert 0.5 < (plain != recoloured).flatten(1).any(dim=1).float().mean() < 1  # a sixth stay as they were


def test_a_moved_picture_repeats_its_edge() -> None:
    """Each moved picture is one of the nine that a move by up to a pixel gives, by np.pad."""
    data = pictures(32)
    moved = make_batch(data, np.arange(32), np.random.default_rng(2), shift_px=1).pixels
    channels = make_batch(data, np.arange(32), np.random.default_rng(2)).pixels  # the same order of colours
    padded = np.pad(channels.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    seen = set()
    for found, source in zip(moved.numpy(), padded, strict=True):
        places = [
            (y, x) for y in range(3) for x in range(3) if (source[:, y : y + 16, x : x + 16] == found).all()
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9


def test_a_focused_batch_is_the_window_around_the_largest_object() -> None:
    batch = make_batch(pictures(), np.arange(4))
    focused = batch.focused(2, (4, 4))
    assert focused.visible is not None
    assert focused.visible[:3].tolist() == [[2, 3, 6, 7], [5, 6, 9, 10], [8, 9, 12, 13]]
    assert focused.patch_classes is not None and batch.patch_classes is not None
    assert focused.patch_classes.equal(batch.patch_classes.gather(1, focused.visible))
    assert focused.patch_largest is not None and focused.patch_largest[:3].sum(dim=1).tolist() == [1, 4, 2]


def test_a_window_of_everything_is_the_whole_picture() -> None:
    from core.training.loop import Learner

    torch.manual_seed(0)
    learner = Learner(VisionTransformer(16, 4, 3, 8, 1, 2, 16), dense=True).eval()
    batch = make_batch(pictures(), np.arange(4))
    torch.testing.assert_close(learner(batch, 1.0, 0.0), learner(batch.focused(4, (4, 4)), 1.0, 0.0))


def test_patches_are_labelled_by_what_covers_most_of_them() -> None:
    for seed in range(5):
        scene, labelled = generate_scene(seed), labelled_scene(seed, 64, 8)
        assert CLASSES[labelled.label] == scene.objects[0].shape
        assert labelled.rgb.shape == (64, 64, 3) and labelled.patch_classes.shape == (8, 8)
        side = scene.rgb.shape[0] // 8  # 224 / 8 = 28 pixels a patch, exactly
        for row, column in np.ndindex(8, 8):
            window = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
            areas = [float(item.mask[window].mean()) for item in scene.objects]
            areas.insert(0, 1 - sum(areas))
            first, second = sorted(areas)[:-3:-1]
            if first - second < 0.02:
                continue  # a tie, but for rounding
            owner = int(np.argmax(areas))
            expected = 0 if owner == 0 else 1 + CLASSES.index(scene.objects[owner - 1].shape)
            assert labelled.patch_classes[row, column] == expected
            assert labelled.patch_largest[row, column] == (owner == 1)


def test_scenes_are_resized_as_pictures_are_at_inference() -> None:
    scene = generate_scene(3)
    resized = Image.fromarray(scene.rgb).resize((64, 64), Image.Resampling.BICUBIC)
    assert (labelled_scene(3, 64, 8).rgb == np.asarray(resized)).all()


def test_a_pool_is_generated_once_and_anew_when_something_else_is_wanted(tmp_path: Path) -> None:
    first = cached_pool(tmp_path, range(5, 11), 32, 8)
    for index, scene in enumerate(generate_pool(range(5, 11), 32, 8, workers=1)):
        for stored, value in zip(first, scene, strict=True):
            assert (stored[index] == value).all()
    written = (tmp_path / "rgb.npy").stat().st_mtime_ns
    cached_pool(tmp_path, range(5, 11), 32, 8)
    assert (tmp_path / "rgb.npy").stat().st_mtime_ns == written
    (tmp_path / "pool.json").write_text(json.dumps({"first": 5}))  # an interrupted or other pool
    assert len(cached_pool(tmp_path, range(5, 7), 32, 8)[0]) == 2


def test_digits_are_split_without_overlap() -> None:
    train, held_out = digits(16)
    assert (len(train), len(held_out)) == (1438, 359)
    assert train.rgb.shape[1:] == (16, 16, 3) and set(train.labels) == set(range(10))
    assert train.names == tuple("0123456789")


def test_pictures_and_labels_must_match() -> None:
    with pytest.raises(ValueError, match="4 pictures but 2 labels"):
        Pictures(pictures().rgb, np.zeros(2, dtype=np.int64), ("a",))
    with pytest.raises(ValueError, match="expected uint8 N S S 3"):
        Pictures(pictures().rgb[0], np.zeros(2, dtype=np.int64), ("a",))
