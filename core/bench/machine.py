"""How busy this machine is, and how its processors are clocked: what makes two measurements differ."""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GOVERNORS = Path("/sys/devices/system/cpu")
"""Where Linux tells how each processor is clocked; in a container there is often nothing."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """One moment of a machine; what cannot be known is None."""

    governor: str | None
    """How the processors' clock is chosen, such as `performance`; several joined by `+`."""
    load: float | None
    """Processes that ran or wanted to, mean of the last minute; above `processors` there was a queue."""
    processors: int
    """That this process may use."""
    available_mb: float
    """Memory that may still be taken, in MB (10^6 bytes)."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def machine_state() -> MachineState:
    """Return how this machine is now."""
    import psutil

    return MachineState(_governor(), _load(), _processors(), float(psutil.virtual_memory().available) / 1e6)


def _governor() -> str | None:
    found = set()
    for path in GOVERNORS.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with suppress(OSError):
            found.add(path.read_text(encoding="ascii", errors="replace").strip())
    return "+".join(sorted(found)) or None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # not on every system
        return None


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
