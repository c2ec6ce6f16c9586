"""Weights in files: of models, of runs on their way, and what a run starts from."""
