"""What a training step minimises: a package for each objective, and one table of them.

`table.py` is the one place that names them all; `objective.py` is the contract, `settings.py` what
their settings have in common. The arithmetic is in `training.losses`.
"""
