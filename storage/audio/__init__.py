"""Stored sound: decoding, encoding, windows of it."""
