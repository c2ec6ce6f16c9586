"""Commands about this machine: whether it can run a study, and how much of one fits on it."""
