"""Names: of files that are called after something given, and of files as they are found."""
