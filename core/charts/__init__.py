"""One chart a file, each in two steps: the numbers as a named tuple, then their looks. No torch here."""
