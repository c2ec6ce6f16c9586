"""What is measured of every track as it is packed: a measure a module, and their table."""
