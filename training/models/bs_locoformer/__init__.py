"""BS-Locoformer (Saijo & Bando 2025)."""
