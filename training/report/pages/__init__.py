"""The pages: each builds plain values and hands them to its templates."""
