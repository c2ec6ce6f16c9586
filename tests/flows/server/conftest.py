"""Runs that are lost, made on the tests' own server."""

from tests.flows.lost_runs import server

__all__ = ["server"]
