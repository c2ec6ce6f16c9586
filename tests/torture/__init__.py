"""Packing under torture: killed, unserved, fed with damage, done twice at once."""
