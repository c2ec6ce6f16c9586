"""Thresholded SNR of each stem."""
