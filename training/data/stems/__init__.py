"""Songs with known stems, mixed afresh for every example."""
