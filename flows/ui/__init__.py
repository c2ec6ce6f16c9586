"""What is seen of a run: progress, its card, artifacts, pictures, metrics."""
