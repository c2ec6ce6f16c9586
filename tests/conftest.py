"""For every test, and every process that a test starts."""

import signal
from collections import Counter

import pytest

FIRST = (
    "tests/two_hosts/", "tests/flows/engine/test_topology.py", "tests/flows/deploy/",
    "tests/flows/studies/mixit/test_tables.py", "tests/flows/studies/mixit/test_graph.py",
    "tests/flows/recovery/test_automations.py", "tests/flows/recovery/test_cancel.py",
    "tests/flows/engine/", "tests/flows/test_added_model.py", "tests/flows/",
)  # fmt: skip
"""What takes longest is begun first, so that no worker is left with it at the end."""
SCHEDULES = (
    "tests/flows/cli/machine/test_doctor.py", "tests/flows/deploy/test_deployments.py",
    "tests/flows/deploy/test_serve.py",
)  # fmt: skip
"""What makes schedules on the server of all workers, and what counts them: one after the other."""


def pytest_configure() -> None:
    """Listen to Ctrl-C: a suite that a script started in the background would ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests need the server, which stay together on one worker, and in which order.

    A file stays together, for the sake of its fixtures, unless it is marked `apart`.
    """
    slow = Counter(_file(item) for item in items if item.get_closest_marker("slow"))
    for item in items:
        file = _file(item)
        if "served" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        if item.get_closest_marker("apart") is None:
            item.add_marker(pytest.mark.xdist_group("schedules" if file in SCHEDULES else file))
    items.sort(key=lambda item: (_place(_file(item)), -slow[_file(item)]))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _place(file: str) -> int:
    """Return after how many others a file begins."""
    return next((n for n, name in enumerate(FIRST) if file.startswith(name)), len(FIRST))
