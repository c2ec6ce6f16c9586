"""What a model is trained on: a package for each source of examples, and one table of them.

`table.py` is the one place that names them all; `batches.py` makes batches of any of them,
`settings.py` is what their settings have in common.
"""
