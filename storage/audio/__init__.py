"""Sound at rest: decoding, encoding, windows of it."""
