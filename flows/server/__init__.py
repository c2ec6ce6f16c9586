"""This user's Prefect server: found or started, and its settings."""
