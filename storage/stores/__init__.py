"""Named bytes at rest: in a folder, or in a bucket."""
