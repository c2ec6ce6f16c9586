"""The commands: one module per group, each with its Typer commands and what they do.

`flows/__main__.py` assembles them. Prefect is imported within the functions that need it: it takes
a second to import, and reads its settings when it is.
"""
