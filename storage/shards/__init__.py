"""WebDataset tars of clips: written, indexed, read at random, cached."""
