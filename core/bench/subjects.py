"""A model in three stages that can be timed apart, the same for every kind of model.

    pictures -> preprocess -> inputs, on the device -> run -> raw -> postprocess -> an answer for each picture

Everything up to the last byte on the device is pre-processing; `run` is the network alone; bringing its
output back is post-processing. Each subject owns its model: precision and compilation change the weights.

    vision_subjects.py   classifiers of any architecture; vision transformers without one: features
    mask_subject.py      promptable segmenters: one click
    text_subjects.py     captioners and vision-language models: one caption
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.bench.answers import Answer
from core.bench.options import Options
from core.environment import choose_device
from core.errors import InputError, SetupError
from core.images import ImageInput
from core.recording import ms_since
from core.registry import ModelSpec, no_classifier

if TYPE_CHECKING:
    from torch import nn

    from core.loaders import Loaded

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""What PyTorch calls each precision."""


class Subject(ABC):
    """A model that is measured.

    Raises:
        InputError: The model cannot be run with these options.
    """

    kind: ClassVar[str]
    """`classes`, `features`, `mask` or `text`."""
    takes_batches: ClassVar[bool] = True
    """Whether one pass can take several pictures."""
    model: Any
    """As it was loaded; its weights may be changed."""

    def __init__(self, model: "Loaded", options: Options) -> None:
        import torch

        self.spec, self.device, self.precision = model.spec, model.device, options.precision
        self.dtype: torch.dtype = getattr(torch, DTYPES[options.precision])
        self._check_precision()

    @property
    @abstractmethod
    def network(self) -> "nn.Module":
        """All of the model, for its parameters."""

    @property
    @abstractmethod
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of what the model takes, in pixels; None where that depends on the picture."""

    @abstractmethod
    def preprocess(self, images: Sequence[ImageInput]) -> Any:
        """Return what `run` takes of pictures, on the device and in the precision."""

    @abstractmethod
    def run(self, inputs: Any) -> Any:
        """Return what the network makes of it; on a GPU it may be still at it."""

    @abstractmethod
    def postprocess(self, raw: Any) -> tuple[Answer, ...]:
        """Return an answer for each picture.

        Raises:
            InputError: The output is no answer: not all of it is finite.
        """

    def answer(self, image: ImageInput) -> Answer:
        """Return what the model makes of one picture."""
        return self.postprocess(self.run(self.preprocess((image,))))[0]

    @property
    def parameters(self) -> int:
        """Number of weights, each counted once."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def _check_precision(self) -> None:
        import torch

        if self.precision == "bf16" and self.device.startswith("cuda") and not torch.cuda.is_bf16_supported():
            raise InputError("This GPU does not multiply bf16 numbers.", "Choose fp16 or fp32.")


@dataclass(frozen=True, eq=False, slots=True)
class LoadedSubject:
    """A subject, and how long its model took to load."""

    subject: Subject
    load_ms: float


def load_subject(spec: ModelSpec, options: Options, device: str = "auto") -> LoadedSubject:
    """Load a model of its own, and make a subject of it.

    Raises:
        InputError: It cannot be run with these options.
        VisionBenchError: It cannot be loaded.
    """
    import torch

    from core.sources import build_model

    import_libraries(spec)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    started, place = time.perf_counter(), choose_device(device).device
    try:
        model = build_model(spec, place, lambda: ms_since(started))
        subject = subject_of(model, options)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise SetupError(
            f"{spec.id} does not fit into the free memory of {place}.",
            "Choose a smaller model, or close other programs.",
        ) from error
    return LoadedSubject(subject, ms_since(started))


def import_libraries(spec: ModelSpec) -> None:
    """Import what a model of this source is built with: a process does that once, and it can take seconds."""
    whole = spec.source == "huggingface" or Path(spec.weights).is_dir()
    names = ["transformers.modeling_utils"] if whole else []
    if "segmentation" in spec.tasks and not whole:
        names.append("segment_anything")
    if spec.source != "shipped" and not {"segmentation", "vlm"} & set(spec.tasks):
        names.append("timm")
    for name in names:
        with suppress(ImportError):  # building the model says what is missing
            import_module(name)


def subject_of(model: "Loaded", options: Options) -> Subject:
    """Return the subject for a loaded model, which is the subject's from now on.

    Raises:
        InputError: The model cannot be run with these options.
    """
    from core.bench.mask_subject import MaskSubject
    from core.bench.text_subjects import CaptionerSubject, VlmSubject
    from core.bench.vision_subjects import ClassSubject, FeatureSubject
    from core.segment.segmenter import Segmenter
    from core.sources.captioner import CaptionerModel
    from core.vision_model import ImageModel, VisionModel
    from core.vlm.transformers_model import TransformersVlm

    if isinstance(model, ImageModel) and model.labels:
        return ClassSubject(model, options)
    if isinstance(model, VisionModel):
        return FeatureSubject(model, options)
    if isinstance(model, ImageModel):
        raise no_classifier(model.spec.id)
    if isinstance(model, Segmenter):
        return MaskSubject(model, options)
    if isinstance(model, CaptionerModel):
        return CaptionerSubject(model, options)
    if isinstance(model, TransformersVlm):
        return VlmSubject(model, options)
    raise InputError(f"{model.spec.id} cannot be measured.", "Choose another model.")


def refuse_size(options: Options, spec: ModelSpec, side: int | None) -> None:
    """Refuse another input size than the model's own.

    Raises:
        InputError: One is asked for.
    """
    if options.size not in (None, side):
        own = "a size of its own" if side is None else f"{side} x {side} pixels only"
        raise InputError(
            f"{spec.id} takes pictures of {own}.", "Leave the size out, or choose another model."
        )


def compiled(function: Any, options: Options) -> Any:
    """Return a function of tensors as `torch.compile` rewrites it, where that is asked for.

    Raises:
        SetupError: Nothing here can compile.
    """
    if not options.compiled:
        return function
    import torch

    return torch.compile(function)
