"""GPU jobs as supervised child processes, on this machine or on several."""
