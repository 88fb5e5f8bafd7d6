"""Training of a promptable segmenter: what `python -m core train sam` does."""

from core.training.promptable.config import PromptableConfig
from core.training.promptable.train import train_sam

__all__ = ["PromptableConfig", "train_sam"]
