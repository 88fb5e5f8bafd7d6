"""The command line as another program meets it: a real process, its exit code and its two streams."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import settings
from db import RunFilter, Store

ROOT = Path(__file__).resolve().parents[3]
TINY = "random/vit_tiny_patch16_224"


def run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of `python -m core`."""
    ended = subprocess.run(
        [sys.executable, "-m", "core", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout, ended.stderr


def json_of(stdout: str) -> dict[str, Any]:
    """Return the one object that stdout must be: one line and nothing beside it."""
    assert stdout.count("\n") == 1
    found = json.loads(stdout)
    assert isinstance(found, dict)
    return found


def test_one_object_and_one_run_for_each_picture() -> None:
    code, stdout, _ = run(
        "classify", "sample:chelsea", "sample:scene/3", "--model", TINY, "--top", "3", "--json"
    )
    assert code == 0
    found = json_of(stdout)["predictions"]
    assert [len(picture) for picture in found] == [3, 3]
    for picture in found:
        assert [set(guess) for guess in picture] == [{"label", "score"}] * 3
        assert sorted(picture, key=lambda guess: -guess["score"]) == picture
    code, stdout, _ = run("db", "check", "--json")
    assert (code, json_of(stdout)["runs"]) == (0, 2)


def test_an_error_is_one_object_too() -> None:
    arguments = ("classify", "sample:chelsea", "--model", "timm/vit_tiny_patch16_224", "--json")
    code, stdout, stderr = run(*arguments, HF_HUB_OFFLINE="1")
    assert (code, json_of(stdout)["error"]["class"]) == (3, "OfflineError")
    assert "Traceback" not in stderr


def test_a_reader_that_has_seen_enough() -> None:
    command = f"{sys.executable} -m core models | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes hear Ctrl-C, which a shell's background jobs, and so this process, may ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_is_130_and_a_cancelled_run(tmp_path: Path) -> None:
    small = "--image-size 32 --patch-size 8 --dim 16 --heads 2 --depth 1 --save-every 1"
    arguments = ["train", "vit", "--data", "digits", *small.split()]
    arguments += ["--epochs", "100000", "--out", str(tmp_path / "vit.safetensors"), "--work", str(tmp_path)]
    command = [sys.executable, "-m", "core", *arguments, "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until_there(tmp_path / "vit.state.pt", process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert json_of(stdout)["error"]["class"] == "Cancelled"
    with Store.open(settings().database_url) as store:
        assert [run.status for run in store.runs(RunFilter())] == ["cancelled"]


def until_there(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file exists, as long as its writer lives."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nothing_heavy_is_loaded_for_light_commands(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom core.cli import main\n"
        f"assert main(['scenes', '--n', '1', '--out', {str(tmp_path)!r}]) == 0\n"
        "assert main(['db', 'check']) == 0\nassert main(['models']) == 0\n"
        "heavy = {'torch', 'timm', 'transformers'} & sys.modules.keys()\nassert not heavy, heavy\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
