"""Measurements of several ways to do one piece of work, side by side; `table.py` lists them.

`python -m tests.benchmarks` measures and stores the figures in `results/`; BENCHMARKS.md is written
from them. Nothing asserts a time; the tests here hold the arithmetic, the form and the page.
"""
