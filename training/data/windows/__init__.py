"""Windows of whole songs' mixtures, in pairs: mixtures of mixtures."""
