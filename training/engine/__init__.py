"""One training run: its loop, optimiser, checkpoints, logs."""
