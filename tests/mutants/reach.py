"""Which tests reach which functions of a module, so that a mutant meets no other test.

Quick tests come first: a fault is mostly seen by the first test that reaches it.
"""

import sys
import threading
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Any, NamedTuple

import pytest


class Reached(NamedTuple):
    """What one test took, and the functions that it called."""

    test: str
    seconds: float
    functions: frozenset[str]


class Reach:
    """A pytest plugin that notes which functions of a file each test calls."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._called: set[str] = set()
        self.found: list[Reached] = []
        self.shared: set[str] = set()
        """Called to prepare tests: a fixture's result may serve later tests, too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        started, self._called = time.process_time(), set()
        sys.setprofile(self._note)
        threading.setprofile(self._note)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            seconds = time.process_time() - started
            self.found.append(Reached(item.nodeid, seconds, frozenset(self._called)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self.shared |= self._called

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename == self._file:
            self._called.add(function_of(frame.f_code.co_qualname))


class Selection:
    """A pytest plugin that leaves the tests that it is given, in their order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wanted = [item for item in items if item.nodeid in self._places]
        items[:] = sorted(wanted, key=lambda item: self._places[item.nodeid])


def function_of(qualified: str) -> str:
    """Return the name that a mutant has the function by: `f.<locals>.g.<lambda>` is in `f.g`."""
    return ".".join(part for part in qualified.split(".") if not part.startswith("<"))


def tests_of(function: str | None, found: Sequence[Reached], shared: set[str]) -> list[str]:
    """Return the tests that a fault may show in, quick ones first: all if it is in no function."""
    everywhere = function is None or function in shared
    wanted = [one for one in found if everywhere or function in one.functions]
    return [one.test for one in sorted(wanted, key=lambda one: one.seconds)]
