"""Kinds of run that promptable segmentation leaves in the store."""

ANSWER = "segmentation"
"""The masks that answer one object's prompts."""
EVERYTHING = "segment-everything"
"""Every mask of a picture."""
EVALUATION = "segmentation-evaluation"
"""Clicks simulated on objects of known masks."""
