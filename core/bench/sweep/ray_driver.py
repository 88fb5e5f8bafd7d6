"""The driver of a Ray cluster, in a process of its own: `python -m core.bench.sweep.ray_driver FD`.

Ray ends a driver's process when its cluster is gone for a minute, and waits for minutes for one that was
never there; neither may happen to the app. So this process speaks to Ray, and to the app by a pipe:

    in    (address, measure, deadline_s, gpus) once, then (ticket, model_id, item, data) for each cell
    out   Width, Done and Broken

When the pipe closes, it breaks off what is under way and ends.
"""

import json
import os
import sys
import threading
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from core.bench.sweep.place import Measured, failed_run
from core.bench.sweep.plan import Measure
from core.bench.sweep.ray_node import measure_on_node

RETRIES = 4
"""How often Ray gives a cell to another node when its node dies."""
LOOK_EVERY_S = 2.0
"""How often it looks for nodes that came or went."""
AHEAD = 2
"""Cells taken for each that can be measured at once, so that no node waits for the store."""


@dataclass(frozen=True, slots=True)
class Width:
    """How many cells are taken at once, from now on."""

    cells: int


@dataclass(frozen=True, slots=True)
class Done:
    """What a cell came to."""

    ticket: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class Broken:
    """The cluster cannot measure; nothing comes after this."""

    message: str
    on_node: bool = False
    """Whether a node tried, and lacks something."""


class Driver:
    """Gives cells to a cluster and tells the app what they came to."""

    def __init__(
        self, app: "Connection[Any, Any]", address: str, measure: Measure, deadline_s: float
    ) -> None:
        import ray

        self._app, self._measure, self._deadline_s = app, measure, deadline_s
        self._sending = threading.Lock()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        self._ray: Any = ray
        self._most_cpus = 1.0

    def serve(self, gpus: float) -> None:
        """Take cells until the app closes the pipe."""
        task = self._ray.remote(max_retries=RETRIES)(measure_on_node)
        try:
            while True:
                self._most_cpus = self._largest("CPU")
                self._send(Width(self._width(gpus)))
                while self._app.poll(LOOK_EVERY_S):
                    self._take(task, gpus, *self._app.recv())
        except (EOFError, OSError):
            self._ray.shutdown()

    def _take(self, task: Any, gpus: float, ticket: int, model_id: str, item: str, data: bytes) -> None:
        cpus = min(_threads(item), self._most_cpus)  # more than any node has would wait for ever
        with_resources = task.options(num_cpus=cpus, num_gpus=gpus)
        ref = with_resources.remote(self._measure, self._deadline_s, model_id, item, data)
        ref.future().add_done_callback(partial(self._tell, ticket, model_id, item))

    def _tell(self, ticket: int, model_id: str, item: str, future: Any) -> None:
        lost = self._ray.exceptions
        try:
            self._send(Done(ticket, future.result()))
        except (lost.NodeDiedError, lost.WorkerCrashedError, lost.OutOfMemoryError) as error:
            run = failed_run(model_id, item, type(error).__name__, _first_line(error))
            self._send(Done(ticket, Measured(run, 0.0)))
        except Exception as error:
            on_node = isinstance(error, lost.RayTaskError)
            self._send(Broken(_first_line(getattr(error, "cause", None) or error), on_node))

    def _send(self, message: Width | Done | Broken) -> None:
        with self._sending:
            self._app.send(message)

    def _width(self, gpus: float) -> int:
        total = self._ray.cluster_resources()
        slots = total.get("GPU", 0) / gpus if gpus else total.get("CPU", 0)
        return max(1, AHEAD * int(slots))

    def _largest(self, resource: str) -> float:
        return max((node["Resources"].get(resource, 0) for node in self._ray.nodes()), default=1) or 1


def _threads(item: str) -> int:
    """Return how many threads a cell computes with."""
    return int(json.loads(item).get("options", {}).get("threads") or 1)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def main(descriptor: int) -> None:
    """Serve the app at the other end of a socket."""
    os.dup2(2, 1)
    os.environ.setdefault("RAY_task_oom_retries", "1")  # Ray's own is to try for ever
    app: Connection[Any, Any] = Connection(descriptor)
    address, measure, deadline_s, gpus = app.recv()
    try:
        driver = Driver(app, address, measure, deadline_s)
    except Exception as error:
        app.send(Broken(_first_line(error)))
        return
    driver.serve(gpus)


if __name__ == "__main__":
    # Under its own name, so that what is sent can be read by the app.
    from core.bench.sweep import ray_driver

    ray_driver.main(int(sys.argv[1]))
