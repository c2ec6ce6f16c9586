"""Worker processes: many at once, or one that may crash at no cost."""
