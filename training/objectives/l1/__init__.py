"""Mean absolute error of each stem's waveform."""
