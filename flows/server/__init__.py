"""The Prefect server of this user: found or started, and its settings."""
