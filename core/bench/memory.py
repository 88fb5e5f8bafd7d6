"""How much memory this process took at most, and how much of a GPU's.

Linux keeps the highest resident size of a process and lets it be set back; elsewhere only the highest of its
whole life is known.
"""

import sys
from contextlib import suppress
from pathlib import Path

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"
"""What Linux takes as: set the highest resident size back (proc_pid_clear_refs(5))."""


def resident_mb() -> float:
    """Return what this process holds in memory now, in MB (10^6 bytes)."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


def reset_peaks(device: str) -> None:
    """Count the highest values anew from now on, where that can be done."""
    with suppress(OSError):
        CLEAR.write_text(RESET_PEAK)
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_mb() -> float:
    """Return the most that this process held in memory at once, in MB (10^6 bytes)."""
    try:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, StopIteration, ValueError):
        return _peak_of_life_mb()


def _peak_of_life_mb() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def gpu_peak_mb(device: str) -> float | None:
    """Return the most that PyTorch held of the GPU's memory at once, in MB (10^6 bytes); None without one."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6
