"""Colours by principal components: against a plain decomposition, with fixed signs, reused, as a file."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import InputError
from core.features.pca import ForegroundRule, PcaBasis, colours, fit_pca, project, two_step
from core.features.pca_file import basis_from_bytes, basis_to_bytes
from core.features.values import FeatureOptions, ImageFeatures
from core.preprocess import Frame

ROUGH = 2e-3
"""Features are rounded to float16."""


def picture(patches: NDArray[np.floating], **facts: object) -> ImageFeatures:
    rows, columns = patches.shape[:2]
    given = {"sha256": "0" * 64, "model_id": "m", "revision": "r", "options": FeatureOptions()} | facts
    frame = Frame((0, 0, columns, rows), (rows, columns))
    return ImageFeatures(patches.astype(np.float16), None, frame, **given)  # type: ignore[arg-type]


def lengths(seed: int, rows: int = 8, columns: int = 9, dim: int = 12) -> NDArray[np.float64]:
    """Return patches whose directions of variance are well apart and not symmetric."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * (2.0 ** -np.arange(dim))[:, None] * 8
    return (rng.exponential(size=(rows, columns, dim)) @ mixing) + rng.normal(size=dim)


def object_on_ground(rows: int = 12, columns: int = 14) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return patches of a ground with an object in its middle, and where the object is."""
    rng = np.random.default_rng(5)
    where = np.zeros((rows, columns), bool)
    where[3:8, 4:9] = True
    ground, thing = 2 * np.eye(16)[:2]
    inner = np.where(np.arange(columns) % 2, 0.5, -0.5)[None, :, None] * np.eye(16)[3]
    noise = 0.05 * rng.normal(size=(rows, columns, 16))
    return np.where(where[..., None], thing + inner, ground) + noise, where


# The basis


def test_two_pictures_are_fitted_together_as_by_a_singular_value_decomposition() -> None:
    first, second = picture(lengths(1)), picture(lengths(2, 5, 4))
    basis = fit_pca([first, second], 4)
    rows = np.concatenate([p.patches.reshape(-1, 12) for p in (first, second)]).astype(np.float64)
    _, values, axes = np.linalg.svd(rows - rows.mean(axis=0))
    assert np.allclose(basis.mean, rows.mean(axis=0), atol=1e-5)
    assert np.allclose(np.abs(np.sum(basis.components * axes[:4], axis=1)), 1, atol=1e-4)
    assert np.allclose(basis.explained, values[:4] ** 2 / np.sum(values**2), atol=1e-5)
    assert basis.patches == 8 * 9 + 5 * 4
    assert np.allclose(
        project(basis, second), (second.patches.astype(float) - basis.mean) @ basis.components.T, atol=1e-4
    )


def test_a_known_axis_is_found_and_its_long_side_is_positive() -> None:
    patches = np.zeros((1, 5, 3))
    patches[0, :, 1] = [4, 0, 0, 0, 0]
    for sign in (1, -1):
        basis = fit_pca([picture(sign * patches)])
        assert np.allclose(basis.components[0], [0, sign, 0], atol=1e-6)
        assert np.allclose(basis.explained, [1, 0, 0], atol=1e-6)
        assert project(basis, picture(sign * patches))[0, 0, 0] > 0


def test_of_a_symmetric_component_the_largest_loading_is_positive() -> None:
    for sign in (1, -1):
        patches = sign * np.array([[[-2, 1, 0], [2, -1, 0]]])
        components = fit_pca([picture(patches)]).components
        assert np.allclose(components[0], np.array([2, -1, 0]) / np.sqrt(5), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_sign_depends_on_no_order_and_no_direction(seed: int, random: object) -> None:
    patches = lengths(seed)
    shuffled = list(range(72))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    values = project(fit_pca([picture(patches)]), picture(patches)).reshape(72, 3)
    moved = patches.reshape(72, -1)[shuffled].reshape(patches.shape)
    again = project(fit_pca([picture(moved)]), picture(moved)).reshape(72, 3)
    assert np.allclose(again, values[shuffled], atol=ROUGH)
    mirrored = project(fit_pca([picture(-patches)]), picture(-patches)).reshape(72, 3)
    assert np.allclose(mirrored, values, atol=ROUGH)


def test_colours_are_those_of_the_percentiles() -> None:
    patches = lengths(3)
    basis = fit_pca([picture(patches)])
    values = project(basis, picture(patches)).reshape(-1, 3)
    low, high = np.percentile(values, [1, 99], axis=0)
    assert np.allclose(basis.low, low, atol=1e-4)
    assert np.allclose(basis.high, high, atol=1e-4)
    shown = colours(basis, picture(patches)).reshape(-1, 3)
    assert np.abs(shown - np.clip((values - low) / (high - low), 0, 1) * 255).max() <= 0.51
    assert (shown.min(axis=0) == 0).all()
    assert (shown.max(axis=0) == 255).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_uniform_picture_is_grey(value: float) -> None:
    same = picture(np.full((4, 4, 6), value))
    basis = fit_pca([same])
    assert basis.flat
    assert not basis.components.any()
    assert (colours(basis, same) == 128).all()


def test_rounding_alone_is_no_variance() -> None:
    rng = np.random.default_rng(0)
    nearly = np.full((6, 6, 8), 1.7) + 1e-4 * rng.normal(size=(6, 6, 8))
    assert np.ptp(nearly.astype(np.float16)) > 0
    assert fit_pca([picture(nearly)]).flat


@pytest.mark.parametrize("patches", [1, 2, 3])
def test_few_patches_have_few_components(patches: int) -> None:
    few = picture(np.random.default_rng(1).normal(size=(1, patches, 8)))
    basis = fit_pca([few])
    assert np.count_nonzero(basis.explained) == patches - 1
    assert np.count_nonzero(basis.components.any(axis=1)) == patches - 1
    assert (colours(basis, few)[..., patches - 1 :] == 128).all()


def test_the_mask_says_what_is_fitted() -> None:
    patches = lengths(4)
    keep = np.zeros((8, 9), bool)
    keep[2:5, 3:8] = True
    part = picture(patches[2:5, 3:8])
    masked, alone = fit_pca([picture(patches)], keep=[keep]), fit_pca([part])
    assert np.allclose(masked.components, alone.components, atol=1e-5)
    assert masked.patches == 15
    with pytest.raises(InputError, match="No patch is left"):
        fit_pca([part], keep=[np.zeros((3, 5), bool)])
    with pytest.raises(ValueError, match=r"expected \(3, 5\)"):
        fit_pca([part], keep=[keep])


OTHERS = (
    ("model", {"model_id": "n"}),
    ("revision", {"revision": "s"}),
    ("options", {"options": FeatureOptions(layer=3)}),
)


@pytest.mark.parametrize(("what", "facts"), OTHERS)
def test_features_of_another_kind_are_refused(what: str, facts: dict[str, object]) -> None:
    own, other = picture(lengths(1)), picture(lengths(2), **facts)
    with pytest.raises(InputError, match=f"another {what}"):
        colours(fit_pca([own]), other)
    with pytest.raises(InputError, match="not of one model"):
        fit_pca([own, other])


# The foreground


@pytest.mark.parametrize(
    "rule", [ForegroundRule("first"), ForegroundRule("cut"), ForegroundRule("first", 0.5)]
)
def test_two_steps_fit_what_does_not_touch_the_border(rule: ForegroundRule) -> None:
    patches, where = object_on_ground()
    view = two_step([picture(patches), picture(patches[:, ::-1])], rule)
    assert (view.masks[0] == where).all()
    assert (view.masks[1] == where[:, ::-1]).all()
    # what differs within the object, columns of two kinds, is now the first component
    assert abs(view.basis.components[0, 3]) > 0.95
    swapped = two_step([picture(patches)], ForegroundRule(rule.kind, rule.threshold, swap=True))
    assert (swapped.masks[0] == ~where).all()


def test_the_foreground_is_found_whichever_side_of_the_component_it_is_on() -> None:
    """A large object is the rule of the first component, and the ground the exception."""
    patches, _ = object_on_ground(8, 12)
    where = np.zeros((8, 12), bool)
    where[1:-1, 1:-1] = True
    thing, ground = patches[4, 5], patches[0, 0]
    noise = 0.05 * np.random.default_rng(0).normal(size=(8, 12, 16))
    view = two_step([picture(np.where(where[..., None], thing, ground) + noise)], ForegroundRule("first"))
    assert (view.masks[0] == where).all()
    assert view.above is False
    assert view.threshold is not None
    assert 0 < view.threshold < 1


def test_without_a_rule_everything_is_fitted() -> None:
    view = two_step([picture(lengths(1))])
    assert view.masks[0].all()
    assert (view.colours[0] == colours(fit_pca([picture(lengths(1))]), picture(lengths(1)))).all()
    assert view.threshold is view.above is None


def test_rules_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="no foreground rule"):
        ForegroundRule("second")  # type: ignore[arg-type]
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="threshold"):
            ForegroundRule("first", threshold)
    with pytest.raises(InputError, match="all alike"):
        two_step([picture(np.ones((3, 3, 4)))], ForegroundRule("first"))


# As a file


def test_a_kept_basis_colours_another_picture_alike() -> None:
    basis, other = fit_pca([picture(lengths(1))], 5), picture(lengths(9, 3, 3))
    again = basis_from_bytes(basis_to_bytes(basis))
    assert (colours(again, other) == colours(basis, other)).all()
    assert (again.explained == basis.explained).all()
    assert (again.patches, again.model_id, again.revision) == (72, "m", "r")
    assert again.options == basis.options


def cut_off(data: bytes) -> bytes:
    return data[:-3]


def flipped(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


HOSTILE: tuple[Callable[[bytes], bytes], ...] = (
    cut_off,
    flipped,
    lambda data: b"",
    lambda data: b"\xff" * 8 + data,
    lambda data: data.replace(b"pca 1", b"pca 2"),
    lambda data: data + bytes(2_000_000),
    lambda data: b"\x80\x04cposix\nsystem\n",
)


@pytest.mark.parametrize("spoiled", HOSTILE)
def test_a_file_that_is_no_basis_is_refused(spoiled: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InputError, match="basis of colours"):
        basis_from_bytes(spoiled(basis_to_bytes(fit_pca([picture(lengths(1))]))))


@pytest.mark.parametrize("name", ["mean", "components", "low"])
def test_a_sealed_file_of_nonsense_is_refused(name: str) -> None:
    basis = fit_pca([picture(lengths(1))])
    values = {field: getattr(basis, field).copy() for field in ("mean", "components", "low")}
    values[name].flat[0] = np.nan
    broken = object.__new__(PcaBasis)  # past its own check
    for field in PcaBasis.__slots__:
        object.__setattr__(broken, field, values.get(field, getattr(basis, field)))
    with pytest.raises(InputError, match="basis of colours"):
        basis_from_bytes(basis_to_bytes(broken))
