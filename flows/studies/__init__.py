"""One module per paper: what happens, in what order. Without Prefect."""
