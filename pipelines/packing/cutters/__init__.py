"""Ways of cutting and judging other than the paper's own, one to a module."""
