"""One model of a benchmark: its process, what was measured until now, and what went wrong.

Whatever happens to the process is this model's failure and nobody else's.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.bench.accuracy import Accuracy, Failure
from core.bench.cells import LATENCY_SHARE, warm_up_s
from core.bench.machine import machine_state
from core.bench.measuring import MOST_SAMPLES
from core.bench.plan import Entry, Plan
from core.bench.results import KIND, MAX_MESSAGE, Result, draft_of
from core.bench.worker import Gone, Raised, Worker
from core.environment import describe_environment
from core.errors import VisionBenchError
from core.images import ImageInput
from core.registry import ModelSpec, resolve
from core.runs import RunDraft

TRUTH_STEP_S = 1.0
"""How long pictures of known truth are looked at until it is asked whether to go on."""


class Seat:
    """A model under measurement.

    Args:
        given: Digest to the bytes of pictures that are no samples.
        device: `auto`, `cpu`, `cuda` or `mps`.
    """

    def __init__(self, entry: Entry, plan: Plan, given: Mapping[str, bytes], device: str) -> None:
        self.entry, self._plan, self._given, self._device = entry, plan, given, device
        self.result: Result | None = None
        self.gone: Raised | None = None
        """Why nothing more can be measured."""
        self._worker: Worker | None = None
        self._spec: ModelSpec
        self._at = 0.0

    @property
    def pid(self) -> int | None:
        """Number of its process."""
        return self._worker.pid if self._worker is not None else None

    @property
    def good(self) -> tuple[str, ...]:
        """Pictures on which the model did not raise; none where nothing more can be measured."""
        if self.result is None or self.gone is not None:
            return ()
        return tuple(name for name in self._plan.pictures if not self.result.failed(name))

    def kill(self) -> None:
        """End its process; from any thread."""
        if self._worker is not None:
            self._worker.kill()

    def close(self) -> None:
        """Let its process end."""
        if self._worker is not None:
            self._worker.close()

    # Steps; none of them raises what the model does

    def start(self) -> None:
        """Start a process, which takes a while to be ready; others may be started meanwhile."""
        self._at = time.perf_counter()
        try:
            self._spec = resolve(self.entry.model_id)
            self._worker = Worker()
        except VisionBenchError as error:
            self.gone = Raised(type(error).__name__, error.message, error.remedy)

    def ready(self) -> None:
        """Wait until the process is."""
        if self.gone is None:
            self._or_gone(self._ask, "ready")

    def open(self) -> None:
        """Load the model, and warm it up."""
        if self.gone is None:
            self._or_gone(self._open)

    def _open(self) -> None:
        before, options = machine_state(), self.entry.options
        facts = self._ask("open", self._spec, options, self._device, self._plan.pictures, self._given)
        self.result = Result(self._spec.id, options, facts, before)
        for picture in self._plan.pictures:
            self._warm_up(picture)

    def _warm_up(self, picture: str) -> None:
        """Warm up on the first picture that the model takes; the others are only tried."""
        result = self._result
        seconds = warm_up_s(self.entry.options.seconds) if result.warm is None else 0.0
        try:
            warm = self._ask("warm_up", picture, seconds)
        except Gone:
            raise
        except Raised as error:
            result.failures.append(Failure(picture, error.error_class, str(error)[:MAX_MESSAGE]))
            return
        result.warm = result.warm or warm

    def round(self, first: bool) -> None:
        """Time single calls, then each batch size, for this round's share of the seconds."""
        self._guarded(self._single_calls, first)
        for size in self._larger:
            self._guarded(self._batch, size)

    @property
    def _larger(self) -> list[int]:
        return [size for size in self.entry.options.batches if size > 1]

    def _single_calls(self, first: bool) -> None:
        seconds = self.entry.options.seconds / self._plan.rounds
        if self._larger and self._result.facts.takes_batches:
            seconds *= LATENCY_SHARE
        at_least = len(self.good) if first else 1
        at_most = max(at_least, MOST_SAMPLES // self._plan.rounds)
        samples, failures = self._ask("turn", self.good, seconds, at_least, at_most)
        for name, sample in samples:
            self._result.samples.setdefault(name, []).append(sample)
        self._result.failures += failures

    def _batch(self, size: int) -> None:
        seconds = self.entry.options.seconds / self._plan.rounds * (1 - LATENCY_SHARE) / len(self._larger)
        note = f"Batches of {size} were not measured."
        if any(said.startswith(note) for said in self._result.notes):
            return
        try:
            times = self._ask("batch_ms", self.good[0], size, seconds)
        except Gone:
            raise
        except Raised as error:
            self._result.notes.append(f"{note} {error.message}"[:MAX_MESSAGE])
            return
        self._result.batches.setdefault(size, []).extend(times)

    def finish(self) -> None:
        """Read the memory, count MACs, and ask for the answers."""
        self._guarded(self._read_peaks)
        self._guarded(self._count_macs)
        for picture in self.good:
            self._guarded(self._answer, picture)

    def _read_peaks(self) -> None:
        self._result.peaks = self._ask("peaks")

    def _count_macs(self) -> None:
        try:
            self._result.macs = self._ask("macs", self.good[0])
        except Gone:
            raise
        except Raised as error:
            self._result.notes.append(f"MACs could not be counted ({error.error_class}).")

    def _answer(self, picture: str) -> None:
        try:
            self._result.answers[picture] = self._ask("answer", picture)
        except Gone:
            raise
        except Raised as error:
            self._result.notes.append(f"{picture} was not answered ({error.error_class}).")

    def look(self) -> bool:
        """Look at some more pictures of known truth; say whether there are more."""
        left = [0]
        self._guarded(self._look, left)
        return bool(left[0]) and self.gone is None

    def _look(self, left: list[int]) -> None:
        if self._plan.truths is None:
            return
        try:
            _, left[0] = self._ask("accuracy", self._plan.truths, TRUTH_STEP_S)
            if not left[0]:
                found: Accuracy = self._ask("accuracy_result")
                self._result.accuracy = found
                self._result.notes += [found.note[:MAX_MESSAGE]] if found.note else []
        except Gone:
            raise
        except Raised as error:
            self._result.notes.append(f"There is no accuracy. {error}"[:MAX_MESSAGE])

    def _guarded(self, step: Any, *arguments: Any) -> None:
        """Do a step where a picture is left for it."""
        if self.good:
            self._or_gone(step, *arguments)

    def _or_gone(self, step: Any, *arguments: Any) -> None:
        """Do a step; one that raises ends the measurement of this model."""
        try:
            step(*arguments)
        except Raised as error:
            self.gone = error

    @property
    def _result(self) -> Result:
        assert self.result is not None  # only steps of an open seat come here
        return self.result

    def _ask(self, name: str, *arguments: Any) -> Any:
        assert self._worker is not None
        return self._worker.ask(name, *arguments, deadline_s=self._plan.deadline_s)

    # The run

    def run(self, images: Mapping[str, ImageInput], owner: str, tags: tuple[str, ...]) -> RunDraft:
        """Return the run of what was measured; failed where the process is gone, or no picture was taken."""
        parameters = {"benchmark": self._plan.id, "plan": self._plan.to_json()}
        seconds = time.perf_counter() - self._at
        if self.result is None:
            run = RunDraft(
                kind=KIND,
                model_id=self.entry.model_id,
                model_revision="",
                environment=describe_environment("cpu", ""),
                owner=owner,
                duration_ms=seconds * 1000,
                parameters={"pictures": list(images), "options": self.entry.options.to_json(), **parameters},
                tags=tags,
            )
        else:
            self.result.after, self.result.seconds = machine_state(), seconds
            run = draft_of(self.result, images, owner=owner, parameters=parameters, tags=tags)
        if self.gone is None:
            return run
        message = str(self.gone)[:MAX_MESSAGE]
        return replace(run, status="failed", error_class=self.gone.error_class, error_message=message)
