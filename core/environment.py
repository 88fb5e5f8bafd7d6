"""What this machine is: the device that models run on and why, and the versions a run is recorded with.

Nothing here imports torch unless there is a GPU to ask about.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import SetupError
from core.runs import Environment
from core.settings import ROOT

PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "streamlit")
NVIDIA_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Where models run, and why there."""

    device: str
    reason: str


@lru_cache(maxsize=4)
def choose_device(wanted: str = "auto") -> DeviceChoice:
    """Return the device that `wanted` (`auto`, `cpu`, `cuda` or `mps`) stands for on this machine.

    Raises:
        SetupError: A device was asked for by name and is not there.
    """
    if wanted == "cpu":
        return DeviceChoice("cpu", "chosen by the configuration")
    cuda, mps = (wanted in ("auto", "cuda") and _cuda()), (wanted in ("auto", "mps") and _mps())
    if cuda:
        return DeviceChoice("cuda", "an NVIDIA GPU is ready")
    if mps:
        return DeviceChoice("mps", "an Apple GPU is ready")
    if wanted != "auto":
        raise SetupError(
            f"The device {wanted} is not available here.", "Set VISION_BENCH_DEVICE to auto or cpu."
        )
    if any(node.exists() for node in NVIDIA_NODES):
        return DeviceChoice("cpu", "the NVIDIA GPU here cannot be used by this PyTorch or its driver")
    return DeviceChoice("cpu", "no usable GPU was found")


def _cuda() -> bool:
    if platform.system() == "Darwin":
        return False
    if platform.system() == "Linux" and not any(node.exists() for node in NVIDIA_NODES):
        return False
    import torch

    return torch.cuda.is_available()


def _mps() -> bool:
    if platform.system() != "Darwin":
        return False
    import torch

    return torch.backends.mps.is_available()


@lru_cache(maxsize=1)
def processor_name() -> str:
    """Return the CPU as its maker calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@lru_cache(maxsize=8)
def describe_environment(device: str, dtype: str) -> Environment:
    """Return what a run on `device` in `dtype` runs on; the same value for the life of the process."""
    return Environment(
        device=device,
        device_name=_device_name(device),
        dtype=dtype,
        threads=_threads(),
        versions={"python": platform.python_version()} | _versions(),
        git_revision=git_revision(),
    )


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return processor_name()


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def git_revision() -> str:
    """Return the commit of this checkout, with `+` where tracked files were changed; empty outside of one."""
    if not (ROOT / ".git").exists():
        return ""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
