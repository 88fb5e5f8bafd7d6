"""Cells that do what their model's name says. Apart from the tests: a new process imports little."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.errors import InputError
from core.runs import Artifact, Environment, Metric, RunDraft

CPU = Environment("cpu", "Test CPU", "float32", 1, {"python": "3.11"}, "")


def measure(model_id: str, item: str, data: bytes = b"") -> RunDraft:
    """Sleep, fail, hang or die; `size` is how large the file of the picture is.

    Among the options `log` is a file that tells what was measured, `size` the bytes of a file of the run.
    """
    cell = json.loads(item)
    options = cell["options"]
    if "log" in options:
        with Path(options["log"]).open("a", encoding="utf-8") as log:
            log.write(f"{model_id} {cell['picture']}\n")
    value = float(len(data)) if model_id == "size" else _do(*model_id.partition("-")[::2])
    return RunDraft(
        kind="benchmark",
        model_id=model_id,
        model_revision="",
        environment=CPU,
        owner="nobody",
        duration_ms=1.0,
        parameters=cell,
        metrics=[Metric("value", value)],
        artifacts=[Artifact("noise", "application/octet-stream", os.urandom(cell["options"].get("size", 0)))],
    )


def _do(what: str, argument: str) -> float:
    match what:
        case "sleep":
            time.sleep(float(argument))
        case "raise":
            raise InputError("This picture is not for me.", "Take another.")
        case "bug":
            raise ZeroDivisionError("1 / 0 <script>")
        case "exit":
            os._exit(int(argument))
        case "sysexit":
            sys.exit(int(argument))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            child = subprocess.Popen(["sleep", "1000"])
            Path(argument).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
            while True:
                time.sleep(1)
        case "print":
            sys.stdout.write("on stdout\n")
        case "nan":
            return float("nan")
        case "pid":
            return os.getpid()
    return 1.0
