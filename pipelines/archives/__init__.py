"""Archives: where their bytes are, and their members read from there. Nothing is trusted."""
