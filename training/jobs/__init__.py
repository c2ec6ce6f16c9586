"""The jobs that a run directory can ask for, one module each."""
