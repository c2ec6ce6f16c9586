"""Flows as deployments: served, scheduled, and executed by workers of a work pool."""
