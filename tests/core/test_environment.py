"""What the machine is said to be, held against the machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core import environment
from core.environment import choose_device, describe_environment, git_revision
from core.errors import SetupError
from core.settings import ROOT

HAS_GPU = torch.cuda.is_available() or torch.backends.mps.is_available()


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    remembering = (choose_device, describe_environment, git_revision)
    for function in remembering:
        function.cache_clear()
    yield
    for function in remembering:
        function.cache_clear()


def test_cpu_by_wish() -> None:
    assert choose_device("cpu") == environment.DeviceChoice("cpu", "chosen by the configuration")


def test_auto_takes_what_torch_can_use() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    choice = choose_device("auto")
    assert choice.device == expected
    torch.zeros(1, device=choice.device)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU here")
def test_without_a_gpu_the_reason_says_so() -> None:
    assert choose_device("auto").reason == "no usable GPU was found"


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU here")
def test_a_gpu_that_torch_cannot_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "nvidiactl"
    node.touch()
    monkeypatch.setattr(environment, "NVIDIA_NODES", (node,))
    choice = choose_device("auto")
    assert choice.device == "cpu"
    assert "NVIDIA GPU here cannot be used" in choice.reason


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_asked_for_and_missing_is_an_error(device: str) -> None:
    with pytest.raises(SetupError, match=f"{device} is not available here. Set VISION_BENCH_DEVICE to auto"):
        choose_device(device)


def test_the_description_is_of_this_machine() -> None:
    found = describe_environment("cpu", "float32")
    assert (found.device, found.dtype, found.threads) == ("cpu", "float32", torch.get_num_threads())
    assert found.versions["python"] == platform.python_version()
    assert found.versions["torch"] == importlib.metadata.version("torch")
    assert set(found.versions) == {"python", *environment.PACKAGES}
    assert found.device_name
    assert describe_environment("cpu", "float32") is found


def test_the_processor_is_named_as_its_maker_does() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or "model name" not in cpuinfo.read_text():
        pytest.skip("this system does not tell the processor's name")
    assert f": {environment.processor_name()}\n" in cpuinfo.read_text()


def test_nothing_heavy_is_imported() -> None:
    """A machine without an NVIDIA GPU is described without torch, which takes seconds to import."""
    script = (
        "import sys; from core import environment as e; e.NVIDIA_NODES = ()\n"
        "e.choose_device('auto'); threads = e.describe_environment('cpu', 'float32').threads\n"
        "assert threads >= 1 and not {'torch', 'timm', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    isolated = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=isolated).stdout.strip()


def test_the_revision_is_the_commit_and_tells_a_changed_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert git_revision() == ""  # no checkout
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    git_revision.cache_clear()
    assert git_revision() == head[:12]
    (tmp_path / "untracked.txt").write_text("a note changes nothing that runs")
    git_revision.cache_clear()
    assert git_revision() == head[:12]
    (tmp_path / "code.py").write_text("two")
    git_revision.cache_clear()
    assert git_revision() == f"{head[:12]}+"


def test_a_checkout_without_commits_or_git_has_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    git(tmp_path, "init")
    assert git_revision() == ""
    monkeypatch.setenv("PATH", "")
    git_revision.cache_clear()
    assert git_revision() == ""
