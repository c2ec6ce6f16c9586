"""Ways to decode a recording: libsndfile, FFmpeg's containers, and packets that a walk found."""
