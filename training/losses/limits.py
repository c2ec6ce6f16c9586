"""How far the losses reach, torch-free: configurations are checked against it."""

MOST_OUTPUTS = 20
"""Outputs up to which MixIT's exact solver searches all 2^S assignments (a million candidates)."""
