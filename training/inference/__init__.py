"""A trained model over whole songs."""
