"""Self-distillation without labels (DINO): what `python -m core train dino` does."""
