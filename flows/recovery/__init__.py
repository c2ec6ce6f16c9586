"""Runs that crash, stall or are cancelled: detected, marked, restarted and reported."""
