"""What a person types and is shown. Prefect is imported only where a command needs it."""
