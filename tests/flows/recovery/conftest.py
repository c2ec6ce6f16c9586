"""Crashed runs, made on the tests' own server."""

from tests.flows.crashed_runs import server

__all__ = ["server"]
