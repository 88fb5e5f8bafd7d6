"""How many samples a percentile needs before it is worth showing."""

ENOUGH = {50: 11, 90: 64, 99: 662}
"""Percentile to the fewest samples that it needs (MLPerf's rule of early stopping)."""
