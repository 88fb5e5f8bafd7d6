"""Looking inside a vision transformer: its attention, and maps made of it."""
