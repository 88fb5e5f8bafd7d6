"""Who measures the cells of a sweep: the nodes of a Ray cluster that runs already.

Each node needs this checkout at the same path with its requirements, and the weights of the models. It needs
no way to the store: results come back to whoever began the sweep, who writes them down.
"""

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from core.bench.sweep.place import Measured, PlaceClosedError
from core.bench.sweep.plan import Measure
from core.bench.sweep.ray_driver import Broken, Done, Width
from core.errors import InputError, SetupError
from core.settings import ROOT

CONNECT_S = 90.0
"""How long it may take until a cluster that answers is ready."""
ANSWER_S = 5.0
"""How long it may take until it answers at all."""
END_S = 10.0


@dataclass(frozen=True, slots=True)
class OnRay:
    """A Ray cluster.

    Args:
        address: `HOST:6379` from a machine of the cluster, `ray://HOST:10001` from elsewhere, or `auto`.
        gpus: GPUs that each cell is given; with 0 cells are measured on CPUs.

    Raises:
        InputError: The address names none.
    """

    address: str
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.address != "auto":
            _host_and_port(self.address)
        if not 0 <= self.gpus <= 64:
            raise InputError(f"{self.gpus} GPUs for each cell were asked for.", "Choose 0 to 64.")

    def check(self) -> None:
        """Raise a `SetupError` where Ray is not installed."""
        if find_spec("ray") is None:
            raise SetupError(
                "Ray is not installed.",
                "Install it by `pip install -r requirements-ray.txt`, here and on the nodes.",
            )

    def open(self, measure: Measure, deadline_s: float) -> "RayCrew":
        """Return a crew that is connected.

        Raises:
            SetupError: No cluster answers at the address.
        """
        self.check()
        if self.address != "auto":
            self._knock()
        return RayCrew(self, measure, deadline_s)

    def _knock(self) -> None:
        """Find out in seconds what takes Ray minutes: that nobody is there."""
        try:
            socket.create_connection(_host_and_port(self.address), ANSWER_S).close()
        except OSError as error:
            raise no_cluster(self.address, error.strerror or str(error)) from error

    @property
    def takes_turns(self) -> bool:
        """Whether it waits for its turn on this machine: no, Ray gives each cell its share of a node."""
        return False

    def __str__(self) -> str:
        return f"the Ray cluster at {self.address}"


class RayCrew:
    """A cluster, spoken to by a process of its own.

    Raises:
        SetupError: It cannot be reached.
    """

    def __init__(self, where: OnRay, measure: Measure, deadline_s: float) -> None:
        self.width = 1
        self._address = where.address
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._tickets = 0
        self._open: dict[int, Future[Measured]] = {}
        self._ending: Exception | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start_driver(theirs.fileno())
        self._driver: Connection[Any, Any] = Connection(ours.detach())
        self._driver.send((where.address, measure, deadline_s, where.gpus))
        self._thread = threading.Thread(target=self._listen, name="sweep on Ray", daemon=True)
        self._thread.start()
        if not self._ready.wait(CONNECT_S):
            self._end(no_cluster(self._address, "no answer"))
        if (ending := self._ended_by()) is not None:
            self.close()
            raise ending

    def submit(self, model_id: str, item: str, data: bytes = b"") -> "Future[Measured]":
        """Take a cell, and the file of its picture where that is one."""
        future: Future[Measured] = Future()
        with self._lock:
            self._tickets += 1
            ticket = self._tickets
            self._open[ticket] = future
        try:
            self._driver.send((ticket, model_id, item, data))
        except OSError:  # the driver is gone
            self._thread.join(END_S)
        if self._ended_by() is not None:
            self._fail_open()
        return future

    def close(self) -> None:
        """Let the driver break off what is under way, and end."""
        self._end(PlaceClosedError())
        if self._process.poll() is None:
            self._driver_hears_the_end()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._driver.close()

    def _driver_hears_the_end(self) -> None:
        with socket.socket(fileno=os.dup(self._driver.fileno())) as pipe:
            try:
                pipe.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _listen(self) -> None:
        """Hear the driver until it ends."""
        try:
            while True:
                self._hear(self._driver.recv())
        except (EOFError, OSError):
            self._end(SetupError(f"The connection to {self._name} was lost.", _RESUME))

    def _hear(self, message: Width | Done | Broken) -> None:
        match message:
            case Width(cells):
                self.width = cells
                self._ready.set()
            case Done(ticket, measured):
                with self._lock:
                    future = self._open.pop(ticket, None)
                if future is not None:
                    future.set_result(measured)
            case Broken(text, on_node=True):
                self._end(SetupError(f"A node of {self._name} cannot measure ({text}).", _NODES))
            case Broken(text) if self._ready.is_set():
                self._end(SetupError(f"The connection to {self._name} was lost ({text}).", _RESUME))
            case Broken(text):
                self._end(no_cluster(self._address, text))

    def _ended_by(self) -> Exception | None:
        return self._ending

    @property
    def _name(self) -> str:
        return f"the Ray cluster at {self._address}"

    def _end(self, error: Exception) -> None:
        """Take nothing more; the first that is said of the end holds."""
        with self._lock:
            self._ending = self._ending or error
        self._ready.set()
        self._fail_open()

    def _fail_open(self) -> None:
        with self._lock:
            left, self._open = list(self._open.values()), {}
        for future in left:
            future.set_exception(self._ending or PlaceClosedError())


_RESUME = "See that its head node runs, and resume the sweep."
_NODES = "Each node needs this checkout at the same path, with its requirements. Then resume the sweep."


def no_cluster(address: str, reason: str) -> SetupError:
    """Return the error that no cluster is there."""
    return SetupError(
        f"No Ray cluster can be reached at {address} ({reason}).",
        "Start one by `ray start --head`, and name it by HOST:6379, as `ray status` does.",
    )


def _start_driver(descriptor: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "core.bench.sweep.ray_driver", str(descriptor)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the app's to hear
    )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        url = urlsplit(address if "://" in address else f"//{address}")
        if url.scheme in ("", "ray") and url.hostname and url.port and not url.path and "@" not in url.netloc:
            return url.hostname, url.port
    except ValueError:
        pass
    raise InputError(
        f"{address!r} is no address of a Ray cluster.",
        "Name it as HOST:6379, as ray://HOST:10001, or as auto.",
    )
