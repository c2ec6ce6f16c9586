"""Stores of a home's bytes: a folder, or a bucket."""
