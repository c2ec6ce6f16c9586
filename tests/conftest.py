"""For every test, and every process that a test starts."""

import signal


def pytest_configure() -> None:
    """Listen to Ctrl-C: a suite that a script started in the background would ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
