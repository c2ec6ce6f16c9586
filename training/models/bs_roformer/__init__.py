"""BS-RoFormer: band-split transformers with rotary positions; the community's weights load."""
