"""Everything that lies in a home: its paths, completion marks, failures, run directories."""
