"""Mixture invariant training (Wisdom et al. 2020)."""
