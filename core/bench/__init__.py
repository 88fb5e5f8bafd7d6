"""Models measured: their time, memory, size and accuracy, one worker process each."""
