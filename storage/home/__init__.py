"""A home: its paths, completion marks, recorded failures and run directories."""
