"""Outcomes of runs and kinds of changes, in words."""

from core.vlm.safe import plain as readable
from pages.ui.vlm_card import OUTCOMES

LONGEST = 60


def outcome_words(outcome: str) -> str:
    """Return an outcome in words: a class of failure that has none is its own name."""
    if outcome == "ok":
        return "Succeeded"
    if outcome == "running":
        return "Still running"
    if outcome in OUTCOMES:
        return OUTCOMES[outcome][0]
    return readable(outcome)[:LONGEST] or "Without a class"


CHANGED = {
    "device": "the device",
    "versions": "versions of libraries",
    "revision": "the model's revision, or the model that the provider returned",
}
"""What `Break.what` stands for."""
