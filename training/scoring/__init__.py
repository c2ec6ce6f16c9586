"""How good separated stems are: metrics, frames, confidence."""
