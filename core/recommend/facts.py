"""What this machine knows: the catalogue, its own runs, and the one scaled to the other."""

from collections.abc import Sequence
from datetime import UTC, datetime

from core.environment import choose_device, describe_environment
from core.errors import VisionBenchError
from core.hub import cached_weights
from core.recommend.calibration import calibrate
from core.recommend.candidates import Facts
from core.recommend.entries import Entry, read_catalog
from core.recommend.evidence import EvidenceRun, gather
from core.registry import available, resolve
from core.registry import catalog as listed
from core.runs import Environment
from core.settings import settings
from core.vlm.prices import price_table

OWN_WEIGHTS = ("file/", "hf/")
"""How names begin that are resolved without a list; an unknown one would be looked for in timm."""


def environment_here() -> Environment:
    """Return what a model would run on here."""
    return describe_environment(choose_device(settings().device).device, "float32")


def facts_here(runs: Sequence[EvidenceRun]) -> Facts:
    """Return all that is known on this machine.

    Args:
        runs: The newest runs of `core.recommend.evidence.KINDS`, as the store returns them.
    """
    catalog, evidence = read_catalog(), gather(runs)
    name = environment_here().device_name
    return Facts(
        catalog, evidence, calibrate(catalog, evidence, name), price_table(), datetime.now(UTC).date(), name
    )


def measurable(entry: Entry) -> str | None:
    """Return the registry's id by which a model can be measured here, without a network.

    An architecture of timm takes the same time with random weights, so it can always be measured. None where
    the app cannot run the model, or its weights are not here.
    """
    if entry.access == "api":
        return None
    if entry.runs and _is_here(entry.runs):
        return entry.runs
    return f"random/{entry.timm}" if entry.timm else None


def _is_here(name: str) -> bool:
    if name.startswith("timm/"):  # asked of the cache by its repository, since resolving may import timm
        return cached_weights(name, "main") is not None
    if name.startswith(OWN_WEIGHTS):
        try:
            return available(resolve(name))
        except VisionBenchError:
            return False
    return any(spec.id == name and available(spec) for spec in listed())
