"""The lean attention against segment-anything's own: equal results, less memory, nothing kept."""

import copy
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import Attention
from torch.utils._python_dispatch import TorchDispatchMode

from core.checkpoints import Architecture, read_card, save_checkpoint
from core.registry import ModelSpec
from core.segment import lean as lean_module
from core.segment.lean import LeanAttention, _slices, lean
from core.segment.small_sam import build_small_sam
from core.settings import settings
from core.sources.segmenters import build_segmenter


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_weights(module: torch.nn.Module, seed: int = 0) -> None:
    """Give every parameter a random value; untrained relative positions are all zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.requires_grad_(False).normal_(0, 0.2, generator=generator)


def attention(
    height: int, width: int, heads: int = 2, channels: int = 8, positions: bool = True
) -> Attention:
    module = Attention(heads * channels, heads, True, positions, input_size=(height, width))
    random_weights(module)
    return module


def leaned(module: Attention) -> Attention:
    other = copy.deepcopy(module)
    other.__class__ = LeanAttention
    return other


def random_sam(image_size: int = 64) -> Sam:
    """The architecture in small, with windowed and global blocks."""
    sam = build_small_sam(
        image_size=image_size, dim=32, depth=3, heads=2, window=3, global_blocks=(1,), prompt_dim=32
    )
    random_weights(sam.image_encoder)
    return sam.eval()


# One module


@examples(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    heads=st.integers(1, 4),
    positions=st.booleans(),
    slice_values=st.integers(1, 20_000),
    seed=st.integers(0, 1000),
)
def test_equals_the_reference_however_it_is_sliced(
    batch: int, height: int, width: int, heads: int, positions: bool, slice_values: int, seed: int
) -> None:
    reference = attention(height, width, heads, positions=positions)
    x = torch.randn(batch, height, width, heads * 8, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(lean_module, "SLICE_VALUES", slice_values)
        torch.testing.assert_close(leaned(reference)(x), reference(x), rtol=1e-5, atol=1e-5)


def test_relative_positions_are_stretched_as_the_reference_does() -> None:
    """Positions learned on another grid are interpolated; it has more rows than columns."""
    reference = attention(6, 6)
    x = torch.randn(2, 9, 5, 16)
    torch.testing.assert_close(leaned(reference)(x), reference(x), rtol=1e-5, atol=1e-5)


def test_the_positions_matter_to_this_comparison() -> None:
    """Else the tests above would pass without them, or with rows and columns exchanged."""
    reference = attention(6, 6)
    x = torch.randn(1, 6, 6, 16)
    exchanged = copy.deepcopy(reference)
    exchanged.rel_pos_h, exchanged.rel_pos_w = reference.rel_pos_w, reference.rel_pos_h
    without = copy.deepcopy(reference)
    without.use_rel_pos = False
    for other in (exchanged, without):
        assert (other(x) - reference(x)).abs().max() > 0.01


@given(
    heads=st.integers(1, 40),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    slice_values=st.integers(1, 50_000),
)
def test_slices_are_everything_once_and_small(heads: int, height: int, width: int, slice_values: int) -> None:
    seen = np.zeros((heads, height), dtype=int)
    row = width * height * width
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean_module, "SLICE_VALUES", slice_values)
        for chosen in _slices(heads, height, width):
            seen[chosen] += 1
            assert seen[chosen].size * row <= max(slice_values, row)
    assert (seen == 1).all()


class LargestTensor(TorchDispatchMode):
    """Notes the most values that any operation gave at once."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else (found,):
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.untyped_storage().nbytes() // tensor.element_size())
        return found


def test_never_holds_the_weights_of_all_heads() -> None:
    reference = attention(32, 32, heads=4)
    x = torch.randn(1, 32, 32, 32)
    largest = {}
    with torch.no_grad():
        for module in (reference, leaned(reference)):
            with LargestTensor() as mode:
                module(x)
            largest[type(module)] = mode.values
    assert largest[Attention] == 4 * 1024 * 1024
    assert largest[LeanAttention] == lean_module.SLICE_VALUES == 1024 * 1024


# A whole network


def test_masks_of_a_whole_network_are_equal() -> None:
    sam = random_sam()
    other = copy.deepcopy(sam)
    lean(other)
    rgb = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    answers = []
    for network in (sam, other):
        predictor = SamPredictor(network)
        predictor.set_image(rgb)
        answers.append(predictor.predict(np.array([[30.0, 20.0]]), np.array([1])))
    (masks, scores, logits), (own_masks, own_scores, own_logits) = answers
    assert 0 < masks.mean() < 1
    np.testing.assert_allclose(own_logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own_scores, scores, rtol=1e-4, atol=1e-5)
    clear = np.abs(predictor.model.postprocess_masks(*_at_full_size(logits, predictor))[0].numpy()) > 1e-4
    np.testing.assert_array_equal(own_masks[clear], masks[clear])


def _at_full_size(logits: np.ndarray, predictor: SamPredictor) -> tuple[object, ...]:
    return torch.from_numpy(logits)[None], predictor.input_size, predictor.original_size


def test_replaces_every_attention_of_the_encoder_and_nothing_else() -> None:
    sam = random_sam()
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    lean(sam)
    assert [type(block.attn) for block in sam.image_encoder.blocks] == [LeanAttention] * 3
    assert not any(isinstance(module, LeanAttention) for module in sam.mask_decoder.modules())
    assert list(sam.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in sam.state_dict().items())
    lean(sam)  # once more changes nothing
    assert [type(block.attn) for block in sam.image_encoder.blocks] == [LeanAttention] * 3


def test_other_networks_are_untouched() -> None:
    first, second = random_sam(), random_sam()
    lean(first)
    assert all(type(block.attn) is Attention for block in second.image_encoder.blocks)


def test_a_network_that_is_dropped_is_gone_at_once() -> None:
    """A method bound to its own module would keep hundreds of megabytes until a later garbage collection."""
    sam = random_sam()
    lean(sam)
    with torch.inference_mode():
        sam.image_encoder(torch.randn(1, 3, 64, 64))
    weights = weakref.ref(sam.image_encoder.blocks[1].attn)
    gc.collect()
    gc.disable()
    try:
        del sam
        assert weights() is None
    finally:
        gc.enable()


def test_a_copy_has_weights_of_its_own() -> None:
    sam = random_sam()
    lean(sam)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = sam.image_encoder(pixels)
        other = copy.deepcopy(sam)
        random_weights(other.image_encoder, seed=1)
        assert torch.equal(sam.image_encoder(pixels), before)
        assert not torch.allclose(other.image_encoder(pixels), before)


def test_many_at_once_get_what_each_gets_alone() -> None:
    sam = random_sam()
    lean(sam)
    pictures = torch.randn(4, 1, 3, 64, 64)
    barrier = threading.Barrier(4)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        barrier.wait(timeout=30)
        with torch.inference_mode():
            return sam.image_encoder(pixels)

    with torch.inference_mode():
        alone = [sam.image_encoder(pixels) for pixels in pictures]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(encode, pictures))
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


# Where it is used


@pytest.mark.parametrize(("image_size", "expected"), [(256, Attention), (512, LeanAttention)])
def test_only_models_of_large_pictures_are_lean(tmp_path: Path, image_size: int, expected: type) -> None:
    arguments = {"image_size": image_size, "patch_size": 64, "dim": 16, "depth": 2, "heads": 2}
    arguments |= {"global_blocks": [1], "prompt_dim": 16}
    path = tmp_path / "small.safetensors"
    shipped = read_card(settings().checkpoints / "sam-scenes.json")
    card = replace(shipped, architecture=Architecture("Sam", arguments))
    save_checkpoint(path, build_small_sam(**arguments), card)
    spec = ModelSpec("shipped/small", "small", "shipped", ("segmentation",), str(path))
    model = build_segmenter(spec, "cpu", lambda: 0.0)
    assert [type(block.attn) for block in model.module.image_encoder.blocks] == [expected] * 2
