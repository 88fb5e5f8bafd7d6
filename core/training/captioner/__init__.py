"""Training of a small vision-language model on scenes: what `python -m core train captioner` does."""
