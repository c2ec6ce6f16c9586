"""Measurements, side by side in one run. They assert nothing, and pytest does not collect them."""
