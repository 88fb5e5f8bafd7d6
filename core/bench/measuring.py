"""One model under the clock, in the process that measures it.

    load -> warm up on the first picture -> time single calls, and batches -> memory -> MACs, answers

Memory is read before MACs are counted and answers are made, which the model itself does not need.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.bench.answers import Answer
from core.bench.macs import count_macs
from core.bench.memory import gpu_peak_mb, peak_mb, reset_peaks, resident_mb
from core.bench.options import Options
from core.bench.subjects import DTYPES, Subject, import_libraries, load_subject, subject_of
from core.bench.timing import (
    WARM_UP_S,
    Sample,
    WarmUp,
    synchroniser,
    time_calls,
    time_stages,
    undisturbed,
    warm_up,
)
from core.environment import choose_device, describe_environment
from core.errors import InputError, SetupError
from core.images import ImageInput
from core.memory import memory_checked
from core.registry import ModelSpec
from core.runs import Environment

MOST_SAMPLES = 20_000
"""Of one picture: what a run keeps of them stays below a MB or two."""
SETTLING = 1
"""Calls that are left out when the clock turns to a model again: others have used the caches meanwhile."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model once it is loaded. Memory in MB (10^6 bytes)."""

    revision: str
    kind: str
    """`classes`, `features`, `mask` or `text`."""
    takes_batches: bool
    input_size: tuple[int, int] | None
    """Height and width in pixels; None where that depends on the picture."""
    parameters: int
    load_ms: float
    base_memory_mb: float
    """What the process held before it loaded the model: Python and its libraries."""
    environment: Environment


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most memory that was held at once since before the model was loaded, in MB (10^6 bytes)."""

    process_mb: float
    gpu_mb: float | None


class Measuring:
    """A model that was loaded to be measured.

    Raises:
        InputError: It cannot be run with these options.
        VisionBenchError: It cannot be loaded.
    """

    def __init__(self, spec: ModelSpec, options: Options, device: str = "auto") -> None:
        import torch  # what it takes is not the model's

        before = torch.get_num_threads()
        import_libraries(spec)
        reset_peaks(choose_device(device).device)
        base_mb = (
            resident_mb()
        )  # after it: memory that is given back in between must not make it the larger one
        self.options, self._threads = options, before
        self._next: str | None = None
        loaded = load_subject(spec, options, device)
        self.subject: Subject = loaded.subject
        self._synchronise = synchroniser(self.subject.device)
        self.facts = self._known(loaded.load_ms, base_mb)

    def _known(self, load_ms: float, base_mb: float) -> Facts:
        subject = self.subject
        describe_environment.cache_clear()  # the number of threads may be another
        return Facts(
            subject.spec.revision,
            subject.kind,
            subject.takes_batches,
            subject.input_size,
            subject.parameters,
            load_ms,
            base_mb,
            describe_environment(subject.device, DTYPES[self.options.precision]),
        )

    def close(self) -> None:
        """Give the process its threads back, where they were changed."""
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        describe_environment.cache_clear()

    def warm_up(self, image: ImageInput, seconds: float = WARM_UP_S) -> WarmUp:
        """Call the model until it is steady; its very first call is the first of them.

        Raises:
            InputError: The device does not know a step of the model in this precision, or the network cannot
                take this size.
            SetupError: The memory does not suffice, or nothing here can compile.
        """
        call = _Bound(self.subject, (image,)).all
        try:
            with memory_checked(self.subject.device, self.subject.spec.id):
                return warm_up(call, self._synchronise, seconds=seconds)
        except (RuntimeError, TypeError, ImportError, OSError, AssertionError, ValueError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> Exception:
        """Return what an option that cannot work here comes to; other errors as they are."""
        subject, reason = self.subject, " ".join(str(error).split())[:160].rstrip(".")
        if self.options.compiled and "torch._" in type(error).__module__:
            return SetupError(
                f"{subject.spec.id} cannot be compiled here: {reason}.",
                "Install a C++ compiler, or leave torch.compile off.",
            )
        if self.options.precision != "fp32" and isinstance(error, RuntimeError | TypeError):
            return InputError(
                f"{subject.spec.id} cannot run in {self.options.precision} on {subject.device}: {reason}.",
                "Choose fp32.",
            )
        if self.options.size is not None and isinstance(error, RuntimeError | AssertionError | ValueError):
            return InputError(
                f"{subject.spec.id} takes no pictures of {self.options.size} pixels: {reason}.",
                "Leave the size out, or choose another.",
            )
        return error

    def samples(
        self, image: ImageInput, seconds: float, at_least: int = 1, at_most: int = MOST_SAMPLES
    ) -> list[Sample]:
        """Return the times of as many calls as begin within `seconds`, after `SETTLING` that do not count."""
        stages = _Bound(self.subject, (image,))
        found: list[Sample] = []
        with undisturbed():
            for _ in range(SETTLING):
                time_stages(stages, self._synchronise)
            deadline = time.perf_counter() + seconds
            while len(found) < at_least or (len(found) < at_most and time.perf_counter() < deadline):
                found.append(time_stages(stages, self._synchronise)[0])
        return found

    def turn(
        self, images: Mapping[str, ImageInput], seconds: float, at_least: int, at_most: int
    ) -> tuple[list[tuple[str, Sample]], dict[str, Exception]]:
        """Time single calls of pictures in turn until `seconds` are over, and go on there next time.

        Returns:
            Picture and times of each call, and what was raised on pictures; those are not called again.
        """
        waiting = deque(name for name in self._order(images))
        found: list[tuple[str, Sample]] = []
        raised: dict[str, Exception] = {}
        with undisturbed():
            deadline, settled = time.perf_counter() + seconds, 0
            while waiting and len(found) < at_most:
                if len(found) >= at_least and time.perf_counter() >= deadline:
                    break
                name = waiting[0]
                try:
                    sample = time_stages(_Bound(self.subject, (images[name],)), self._synchronise)[0]
                except Exception as error:  # whatever a model raises on a picture is that picture's
                    raised[name] = error
                    waiting.popleft()
                    continue
                settled += 1
                if settled > SETTLING:
                    found.append((name, sample))
                    waiting.rotate(-1)
        self._next = waiting[0] if waiting else None
        return found, raised

    def _order(self, images: Mapping[str, ImageInput]) -> list[str]:
        """Return the pictures' names, the one whose turn it is first."""
        names = list(images)
        start = names.index(self._next) if self._next in names else 0
        return names[start:] + names[:start]

    def batch_ms(self, image: ImageInput, size: int, seconds: float) -> list[float]:
        """Return the milliseconds of passes over `size` pictures at once, from pictures to answers.

        Raises:
            InputError: The model takes one picture at a time.
            SetupError: The memory does not suffice for so many.
        """
        if size > 1 and not self.subject.takes_batches:
            raise InputError(f"{self.subject.spec.id} takes one picture at a time.", "Leave the batch out.")
        stages = _Bound(self.subject, (image,) * size)
        call = stages.all
        with memory_checked(self.subject.device, self.subject.spec.id):
            call()
            return time_calls(call, seconds, self._synchronise, at_most=MOST_SAMPLES)

    def peaks(self) -> Peaks:
        """Return how much memory was held at most until now."""
        return Peaks(peak_mb(), gpu_peak_mb(self.subject.device))

    def macs(self, image: ImageInput) -> int:
        """Return the multiplications with addition of one picture, in the network alone."""
        plain = replace(self.options, compiled=False)  # what is compiled cannot be looked into
        subject = subject_of(self.subject.model, plain) if self.options.compiled else self.subject
        inputs = subject.preprocess((image,))
        return count_macs(lambda: subject.run(inputs))

    def answer(self, image: ImageInput) -> Answer:
        """Return what the model makes of a picture."""
        return self.subject.answer(image)


@dataclass(frozen=True, eq=False, slots=True)
class _Bound:
    """A subject's stages on some pictures."""

    subject: Subject
    images: Sequence[ImageInput]

    def preprocess(self) -> Any:
        """Make the model's inputs."""
        return self.subject.preprocess(self.images)

    def run(self, inputs: Any) -> Any:
        """Run the model alone."""
        return self.subject.run(inputs)

    def postprocess(self, raw: Any) -> Sequence[Answer]:
        """Read its answers."""
        return self.subject.postprocess(raw)

    def all(self) -> Sequence[Answer]:
        """Do all three."""
        return self.postprocess(self.run(self.preprocess()))
