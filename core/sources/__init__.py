"""Building a model from each source. `build_model` is the one way in; `core.loaders.ModelPool` calls it.

    checkpoint.py            a checkpoint of this repository, by its card
    timm_models.py           timm: published weights, none, or a weights file
    transformers_models.py   transformers
    repository.py            a hub repository or a folder of either library
    segmenters.py            promptable segmenters, whichever of these they come from
    vlms.py, captioner.py    vision-language models: transformers', and a captioner of this repository

Weights are float32, those of transformers' vision-language models 16 bits where the device multiplies such
numbers. They are read without running anything that is in the file. A model is refused when a part of it
would be left at random values, unless random weights were asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.hub import cached_weights
from core.registry import ModelSpec
from core.sources.checkpoint import from_card
from core.sources.network import Network
from core.sources.repository import from_folder, from_hub
from core.sources.segmenters import build_segmenter
from core.sources.timm_models import from_file, from_timm, untrained
from core.sources.vlms import build_vlm
from core.vision_model import ImageModel, VisionModel

if TYPE_CHECKING:
    from core.segment.segmenter import Segmenter
    from core.vlm.local_model import LocalModel


def build_model(
    spec: ModelSpec, device: str, elapsed_ms: Callable[[], float]
) -> "ImageModel | Segmenter | LocalModel":
    """Load the model that `spec` names onto `device`, ready for inference.

    Args:
        elapsed_ms: Tells how long loading took, when it is done.

    Raises:
        InputError: There is no such model, or its weights do not fit or cannot be trusted.
        OfflineError: It would have to be downloaded and there is no network.
    """
    if "segmentation" in spec.tasks:
        return build_segmenter(spec, device, elapsed_ms)
    if "vlm" in spec.tasks:
        return build_vlm(spec, device, elapsed_ms)
    network = _builder(spec)(spec)
    module = network.module.eval().requires_grad_(False).to(device)
    tensors = (*module.parameters(), *module.buffers())
    facts: dict[str, Any] = {
        "spec": with_commit(spec),
        "module": module,
        "device": device,
        "dtype": "float32",
        "input": network.input,
        "labels": network.labels,
        "memory_mb": sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        "load_ms": elapsed_ms(),
    }
    return VisionModel(**facts, **network.tokens._asdict()) if network.tokens else ImageModel(**facts)


def with_commit(spec: ModelSpec) -> ModelSpec:
    """Return a hub model's facts with the commit that its revision (a branch, say) stood for."""
    cached = cached_weights(spec.weights, spec.revision) if spec.source == "huggingface" else None
    return replace(spec, revision=cached.parent.name[:12]) if cached else spec


def _builder(spec: ModelSpec) -> Callable[[ModelSpec], Network]:
    if spec.source == "huggingface":
        return from_hub
    if spec.source == "timm":
        return untrained if spec.is_random else from_timm
    path = Path(spec.weights)
    if path.is_dir():
        return from_folder
    has_card = spec.source == "shipped" or path.with_suffix(".json").exists()
    return from_card if has_card else from_file
