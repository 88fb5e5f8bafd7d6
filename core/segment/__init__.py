"""Promptable segmentation: pictures to embeddings, embeddings and prompts to masks."""
