"""Songs with known stems, mixed anew for every example."""
