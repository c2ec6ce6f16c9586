"""Walks over a file's packets, by their headers alone: what is there, and what is promised."""
