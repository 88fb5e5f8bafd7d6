"""Kinds of run that features leave in the store."""

SIMILARITY = "similarity"
"""What corresponds to what in two pictures."""
FEATURES = "features"
"""The features of pictures, as a file."""
SEARCH = "search"
"""One picture, or a region of it, against the pictures in the store."""
