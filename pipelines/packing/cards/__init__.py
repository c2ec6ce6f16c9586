"""What lies beside a corpus's shards for people: its card, and whose music it is."""
