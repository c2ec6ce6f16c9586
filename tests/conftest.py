"""For every test, and every process that a test starts; and which worker takes which tests."""

import signal
from collections import Counter

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

FIRST = (
    "tests/two_hosts/", "tests/flows/engine/test_topology.py", "tests/flows/deploy/",
    "tests/flows/studies/mixit/test_tables.py", "tests/flows/studies/mixit/test_graph.py",
    "tests/flows/recovery/test_automations.py", "tests/flows/recovery/test_cancel.py",
    "tests/flows/engine/", "tests/flows/test_added_model.py", "tests/flows/",
)  # fmt: skip
"""What takes longest is begun first, so that no worker is left with it at the end."""
APART = (
    "tests/flows/studies/mixit/test_tables.py", "tests/flows/studies/mixit/test_graph.py",
    "tests/flows/engine/test_sight.py", "tests/flows/recovery/test_cancel.py",
    "tests/flows/test_bad_input.py",
)  # fmt: skip
"""Files whose tests share nothing but what the whole session does: workers take them one by one."""
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
    """Mark the tests that need the server, and begin with what takes longest."""
    slow = Counter(_file(item.nodeid) for item in items if item.get_closest_marker("slow"))
    for item in items:
        if "served" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    items.sort(key=lambda item: (_place(_file(item.nodeid)), -slow[_file(item.nodeid)]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> "Groups":
    """Give each worker one group of tests after the other, in the order of the tests."""
    config.option.loadscopereorder = False
    return Groups(config, log)


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A group is a file, for the sake of its fixtures, unless it is said otherwise above."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return nodeid if file in APART else "schedules" if file in SCHEDULES else file


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _place(file: str) -> int:
    """Return after how many others a file begins."""
    return next((n for n, name in enumerate(FIRST) if file.startswith(name)), len(FIRST))
