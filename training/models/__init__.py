"""Models: a package for each, the contract they keep, and one table of them. Imports nothing.

`table.py` is the one place that names them all; `separator.py` is the contract, `settings.py` what
their settings have in common.
"""
