"""Shards in, weights and scores out; the only layer that knows torch. Imports nothing itself."""
