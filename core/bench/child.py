"""The process that one model is measured in: `python -m core.bench.child FD`, started by `core.bench.worker`.

It answers one message after the other over the connection of that number. What a model raises is told, and
the process goes on; a message that cannot be answered any more ends it.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import VisionBenchError

if TYPE_CHECKING:
    from core.bench.accuracy import Accuracy, AccuracyRun, Failure
    from core.bench.answers import Answer
    from core.bench.measuring import Facts, Measuring, Peaks
    from core.bench.options import Options
    from core.bench.timing import Sample, WarmUp
    from core.registry import ModelSpec

OOM_SCORE = Path("/proc/self/oom_score_adj")
FIRST_TO_GO = "1000"
"""Where memory runs out, Linux is to kill this process and not the app (proc_pid_oom_score_adj(5))."""
LOOK_EVERY_S = 0.5
"""How often it looks whether its parent lives."""


class Sitting:
    """What the process does when it is asked. Every method is a message."""

    measuring: "Measuring"

    def __init__(self) -> None:
        self._images: dict[str, Any] = {}
        self._accuracy: AccuracyRun | None = None

    def ready(self) -> None:
        """Tell that the libraries every model needs are there."""

    def open(
        self,
        spec: "ModelSpec",
        options: "Options",
        device: str,
        pictures: tuple[str, ...],
        given: Mapping[str, bytes],
    ) -> "Facts":
        """Load the model and the pictures; see `core.bench.pictures`."""
        from core.bench.measuring import Measuring
        from core.bench.pictures import load_picture

        self._images = {name: load_picture(name, given) for name in pictures}
        self.measuring = Measuring(spec, options, device)
        gc.freeze()  # what is here stays, and looking through it before each turn would take a second
        return self.measuring.facts

    def warm_up(self, picture: str, seconds: float) -> "WarmUp":
        """Call the model until it is steady."""
        return self.measuring.warm_up(self._images[picture], seconds)

    def turn(
        self, pictures: tuple[str, ...], seconds: float, at_least: int, at_most: int
    ) -> "tuple[list[tuple[str, Sample]], list[Failure]]":
        """Time single calls of pictures in turn; tell on which the model raised."""
        from core.bench.cells import failure

        images = {name: self._images[name] for name in pictures}
        samples, raised = self.measuring.turn(images, seconds, at_least, at_most)
        return samples, [failure(name, error) for name, error in raised.items()]

    def batch_ms(self, picture: str, size: int, seconds: float) -> list[float]:
        """Time passes over several pictures."""
        return self.measuring.batch_ms(self._images[picture], size, seconds)

    def peaks(self) -> "Peaks":
        """Tell how much memory was held at most."""
        return self.measuring.peaks()

    def macs(self, picture: str) -> int:
        """Count the multiplications."""
        return self.measuring.macs(self._images[picture])

    def answer(self, picture: str) -> "Answer":
        """Tell what the model makes of a picture."""
        return self.measuring.answer(self._images[picture])

    def accuracy(self, source: str, seconds: float) -> tuple[int, int]:
        """Look at pictures of known truth for about so long; tell how many are done, and how many left."""
        from core.bench.accuracy import AccuracyRun
        from core.bench.truths import open_truths

        if self._accuracy is None:
            self._accuracy = AccuracyRun(self.measuring.subject, open_truths(source))
        until = time.perf_counter() + seconds
        while self._accuracy.left and time.perf_counter() < until:
            self._accuracy.step()
        return self._accuracy.done, self._accuracy.left

    def accuracy_result(self) -> "Accuracy":
        """Tell how often the model was right."""
        if self._accuracy is None:
            raise ValueError("no picture was looked at")
        return self._accuracy.result()


def serve(parent: "Connection[Any, Any]") -> None:
    """Answer messages until the other end is closed."""
    sitting = Sitting()
    while True:
        try:
            name, arguments = parent.recv()
        except (EOFError, OSError):
            return
        parent.send(_answered(sitting, name, arguments))


def _answered(sitting: Sitting, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `(True, value)`, or `(False, class, message, remedy)`."""
    try:
        return True, getattr(sitting, name)(*arguments)
    except VisionBenchError as error:
        return False, type(error).__name__, error.message, error.remedy
    except BaseException as error:  # a model that calls sys.exit fails for itself
        return False, type(error).__name__, " ".join(str(error).split()), ""


def _end_with(parent: int) -> None:
    """End this process once `parent` is gone; it may have been killed in the middle of a measurement."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)


def main() -> None:
    """Serve the process that started this one."""
    with suppress(OSError):
        OOM_SCORE.write_text(FIRST_TO_GO)
    os.dup2(2, 1)  # a library that prints must not spoil what the parent writes
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent watch", daemon=True).start()
    import torch  # noqa: F401

    import core.bench.cells
    import core.sources  # noqa: F401

    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # nothing is left to do, and libraries take their time to end


if __name__ == "__main__":
    main()
