"""Songs with known stems, mixed newly for every example."""
