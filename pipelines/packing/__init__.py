"""Tracks in, shards out: decode, filter, cut, store, account for each, on one machine or many."""
