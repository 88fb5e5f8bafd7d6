"""Maps say what the weights say, and lie on the pixels that the model saw."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from core.errors import InputError
from core.explain.attention import Attention, AttentionChecks
from core.explain.maps import attention_row, mass_mask, patch_map, query_index, rollout_row, to_picture
from core.images import from_rgb
from core.preprocess import Frame, InputConfig, prepare

GRID = (3, 4)
FUSIONS = ("mean", "max", "min")


def attention(
    depth: int = 3,
    heads: int = 2,
    prefix_tokens: int = 1,
    has_cls: bool = True,
    seed: int = 0,
    **more: object,
) -> Attention:
    """Return random attention over `GRID`, sharp enough that every order of doing things shows."""
    tokens = prefix_tokens + GRID[0] * GRID[1]
    scores = np.random.default_rng(seed).normal(scale=3, size=(depth, heads, tokens, tokens))
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    fields = {
        "weights": {layer: weights[layer].astype(np.float32) for layer in range(depth)},
        "depth": depth,
        "heads": heads,
        "prefix_tokens": prefix_tokens,
        "has_cls": has_cls,
        "grid": GRID,
        "checks": AttentionChecks(0.0, 0.0),
        "rollout": None,
        "rollout_fusion": None,
    }
    return Attention(**fields | more)


def rollout(read: Attention, fusion: str) -> NDArray[np.float64]:
    """Rollout as its paper writes it (Abnar and Zuidema 2020, equation 1), row by row in double precision."""
    tokens = len(read.weights[0][0])
    total = np.eye(tokens)
    for layer in range(read.depth):
        mixed = np.zeros((tokens, tokens))
        for query in range(tokens):
            merged = getattr(read.weights[layer][:, query].astype(np.float64), fusion)(axis=0)
            merged[query] += 1
            mixed[query] = merged / merged.sum()
        total = mixed @ total
    return total


# Rollout


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("prefix_tokens", [1, 5])
def test_rollout_of_every_query_is_that_of_the_paper(fusion: str, prefix_tokens: int) -> None:
    read = attention(prefix_tokens=prefix_tokens)
    expected = rollout(read, fusion)
    np.testing.assert_allclose(rollout_row(read, fusion, "cls"), expected[0], atol=1e-6)
    for row, column in np.ndindex(GRID):
        traced = rollout_row(read, fusion, (row, column))
        np.testing.assert_allclose(traced, expected[prefix_tokens + 4 * row + column], atol=1e-6)
        assert traced.sum() == pytest.approx(1, abs=1e-5)


def test_rollout_divides_rows_by_their_own_sum() -> None:
    """Dividing by `sum(-1)` without keeping its axis divides column j by the sum of row j: a known fault."""
    read = attention()
    merged = [read.weights[layer].max(axis=0) + np.eye(13) for layer in range(3)]
    wrong = np.linalg.multi_dot([m / m.sum(axis=-1) for m in reversed(merged)])
    assert np.abs(rollout(read, "max") - wrong).max() > 0.01, "the fault must show in this example"
    np.testing.assert_allclose(rollout_row(read, "max", "cls"), rollout(read, "max")[0], atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_traced_rollout_and_kept_layers_give_the_same(fusion: str) -> None:
    kept = attention()
    traced = attention(weights={}, rollout=rollout(kept, fusion).astype(np.float32), rollout_fusion=fusion)
    for query in ("cls", (0, 0), (2, 3)):
        np.testing.assert_allclose(
            rollout_row(traced, fusion, query), rollout_row(kept, fusion, query), atol=1e-6
        )


def test_a_rollout_of_other_heads_is_not_passed_off_as_this_one() -> None:
    kept = attention()
    both = attention(rollout=rollout(kept, "mean").astype(np.float32), rollout_fusion="mean")
    np.testing.assert_allclose(rollout_row(both, "min", "cls"), rollout(kept, "min")[0], atol=1e-6)
    with pytest.raises(KeyError):
        rollout_row(attention(weights={}, rollout=both.rollout, rollout_fusion="mean"), "max", "cls")


# One row of one layer


@pytest.mark.parametrize("fusion", FUSIONS)
def test_heads_are_merged_entry_by_entry(fusion: str) -> None:
    read = attention(heads=3)
    by_hand = [getattr(np, fusion)([read.weights[1][h, 0, t] for h in range(3)]) for t in range(13)]
    np.testing.assert_allclose(attention_row(read, 1, fusion, "cls"), by_hand, rtol=1e-6)


def test_one_head_is_that_heads_row_unchanged() -> None:
    read = attention(heads=3, prefix_tokens=5)
    assert np.array_equal(attention_row(read, 2, 1, "cls"), read.weights[2][1, 0])
    assert np.array_equal(attention_row(read, 2, 1, (1, 2)), read.weights[2][1, 5 + 1 * 4 + 2])


@pytest.mark.parametrize(("prefix_tokens", "has_cls"), [(0, False), (1, True), (5, True), (4, False)])
def test_the_map_holds_the_patches_and_no_token_in_front(prefix_tokens: int, has_cls: bool) -> None:
    read = attention(prefix_tokens=prefix_tokens, has_cls=has_cls)
    row = np.concatenate([np.full(prefix_tokens, 99), np.arange(12)]).astype(np.float32)
    assert np.array_equal(patch_map(read, row), np.arange(12).reshape(GRID))
    assert query_index(read, (2, 1)) == prefix_tokens + 9


@pytest.mark.parametrize("prefix_tokens", [0, 4])
def test_cls_is_refused_where_there_is_none(prefix_tokens: int) -> None:
    """Registers in front of the patches are no CLS."""
    with pytest.raises(InputError, match="no CLS token") as caught:
        attention_row(attention(prefix_tokens=prefix_tokens, has_cls=False), 0, "mean", "cls")
    assert "patch" in caught.value.remedy


@pytest.mark.parametrize("query", [(3, 0), (0, 4), (-1, 0), (0, -1), (100, 100)])
def test_a_patch_outside_of_the_grid_is_refused(query: tuple[int, int]) -> None:
    for ask in (
        lambda: attention_row(attention(), 0, 0, query),
        lambda: rollout_row(attention(), "mean", query),
    ):
        with pytest.raises(InputError, match=f"row {query[0]}, column {query[1]}") as caught:
            ask()
        assert "0 to 2" in caught.value.remedy and "0 to 3" in caught.value.remedy


@pytest.mark.parametrize("head", [2, -1, 50])
def test_a_head_that_does_not_exist_is_refused(head: int) -> None:
    with pytest.raises(InputError, match=f"no head {head}") as caught:
        attention_row(attention(), 0, head, "cls")
    assert "0 to 1" in caught.value.remedy


def test_attention_of_another_shape_is_no_attention() -> None:
    with pytest.raises(ValueError, match="expected"):
        attention(weights={0: np.zeros((2, 12, 12), np.float32)})
    with pytest.raises(ValueError, match="expected"):
        attention(rollout=np.zeros((12, 12), np.float32), rollout_fusion="mean")


# The mask of a share of the sum

MAPS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 9).map(float)
)


@given(MAPS, st.integers(1, 100))
@settings(deadline=None, max_examples=60)
def test_the_mask_is_the_smallest_set_that_holds_the_share(values: NDArray[np.float32], percent: int) -> None:
    mask = mass_mask(values, percent / 100)
    total, needed = int(values.sum()), Fraction(percent, 100) * int(values.sum())
    assert mask.shape == values.shape
    if total == 0:
        return
    assert int(values[mask].sum()) >= needed
    assert int(values[mask].sum()) - int(values[mask].min()) < needed, "a smaller set would do"
    if not mask.all():
        assert values[mask].min() >= values[~mask].max(), "the largest values come first"


@given(MAPS, st.integers(1, 99))
@settings(deadline=None, max_examples=60)
def test_a_larger_share_contains_the_smaller_and_scale_does_not_matter(
    values: NDArray[np.float32], percent: int
) -> None:
    mask = mass_mask(values, percent / 100)
    assert not (mask & ~mass_mask(values, (percent + 1) / 100)).any()
    assert np.array_equal(mass_mask(values * np.float32(0.125), percent / 100), mask)


# Onto the picture


def cell(frame: Frame, row: int, column: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (round(edge) for edge in frame.patch_box(row, column))
    return slice(y0, y1), slice(x0, x1)


def test_flat_cells_cover_exactly_the_pixels_of_their_patches() -> None:
    frame = Frame((0.0, 0.0, 80.0, 30.0), GRID)  # a patch is 20 wide and 10 high
    values = np.arange(12, dtype=np.float32).reshape(GRID)
    drawn = to_picture(values, frame, 80, 30, smooth=False)
    assert drawn.shape == (30, 80)
    assert np.array_equal(drawn, np.kron(values, np.ones((10, 20))))


@pytest.mark.parametrize("smooth", [False, True])
def test_what_the_model_did_not_see_is_not_a_number(smooth: bool) -> None:
    frame = Frame((25.0, 0.0, 75.0, 50.0), (5, 5))
    drawn = to_picture(np.ones((5, 5), np.float32), frame, 100, 50, smooth=smooth)
    seen = np.zeros((50, 100), bool)
    seen[:, 25:75] = True
    assert np.array_equal(~np.isnan(drawn), seen) and (drawn[seen] == 1).all()


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_smooth_equals_flat_at_the_centres_and_stays_within_the_values(
    rows: int, columns: int, high: int, wide: int, seed: int
) -> None:
    """Patches of an odd number of pixels have a pixel at their centre."""
    high, wide = 2 * high + 1, 2 * wide + 1
    values = np.random.default_rng(seed).random((rows, columns), dtype=np.float32)
    frame = Frame((0.0, 0.0, float(columns * wide), float(rows * high)), (rows, columns))
    smooth = to_picture(values, frame, columns * wide, rows * high, smooth=True)
    np.testing.assert_allclose(smooth[high // 2 :: high, wide // 2 :: wide], values, atol=1e-6)
    assert values.min() - 1e-6 <= smooth.min() and smooth.max() <= values.max() + 1e-6


def test_smooth_is_a_straight_line_between_two_centres() -> None:
    drawn = to_picture(np.array([[0.0, 1.0]], np.float32), Frame((0, 0, 20, 10), (1, 2)), 20, 10, smooth=True)
    expected = np.clip((np.arange(20) + 0.5 - 5) / 10, 0, 1)
    np.testing.assert_allclose(drawn, np.tile(expected, (10, 1)), atol=1e-6)


@pytest.mark.parametrize("fit", ["whole", "crop"])
@pytest.mark.parametrize(("width", "height"), [(96, 96), (200, 96), (70, 150)])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_bright_patch_of_the_picture_is_bright_on_the_map(
    width: int, height: int, fit: str, smooth: bool
) -> None:
    """The whole way: a planted square goes through the preparation, its patch means come back as a map."""
    config = InputConfig((64, 64), (8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), crop_fraction=0.8)
    rgb = np.zeros((height, width, 3), np.uint8)
    _, frame = prepare(from_rgb(rgb, "black"), config, fit=fit)
    row, column = frame.grid[0] - 2, 1
    where = cell(frame, row, column)
    rgb[where] = 255
    pixels, frame = prepare(from_rgb(rgb, "planted"), config, fit=fit)
    rows, columns = frame.grid
    means = pixels[0, 0].reshape(rows, 8, columns, 8).mean(dim=(1, 3)).numpy()  # rows columns
    assert np.unravel_index(means.argmax(), means.shape) == (row, column)
    drawn = to_picture(means.astype(np.float32), frame, width, height, smooth=smooth)
    inside = np.nanmean(drawn[where])
    drawn[where] = np.nan
    assert inside > 5 * np.nanmean(drawn)
    assert frame.patch_at((where[1].start + where[1].stop) / 2, (where[0].start + where[0].stop) / 2) == (
        row,
        column,
    )
