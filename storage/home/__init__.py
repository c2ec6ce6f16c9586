"""A home: its paths, completion marks and who built them, recorded failures, run directories."""
