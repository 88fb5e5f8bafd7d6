"""What a model says about each patch of a picture, and what of two pictures corresponds."""
