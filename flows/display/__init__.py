"""What a person sees while a study runs: bars in a terminal, pages and pictures in the UI."""
