"""Which model to use, from published figures and from what was measured on this machine."""
