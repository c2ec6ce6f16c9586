"""Clips from shards, in pairs: mixtures of mixtures."""
