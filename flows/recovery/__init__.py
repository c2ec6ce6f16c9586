"""Runs that were lost, cancelled or stalled: found, resumed, told of."""
