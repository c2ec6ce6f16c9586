"""Songs whose stems are known: three kinds of corpora made alike, and where each stem sounds."""
