"""Flows as deployments: served, scheduled, run by workers of a pool."""
