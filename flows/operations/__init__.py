"""What keeps the works running: server, schedules, dead runs, the fitness of machine and home."""
