"""One mutant, one forked process: the module with its fault is imported anew, its tests run.

The fault is planted as the module is imported, so no file of the checkout is ever changed, and an
interrupted run leaves nothing behind. The process forks from one that has imported whatever the
tests need and the module has no part in: PyTorch is loaded once.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal, NamedTuple

from storage.processes import die_with_parent
from tests.mutants.plant import Mutant, mutants, planted
from tests.mutants.reach import Reach, Reached, Selection, tests_of

ROOT = Path(__file__).parents[2]
LEAST_SECONDS = 5.0
"""Processor time that the tests of any mutant may take."""
TIMES = 3
"""How often the time that the tests take of the sound module is given to a mutant on top."""
WAITING = 5
"""How often its processor time a mutant may take by the clock: it may wait for itself."""
MEMORY = 6 << 30
"""Bytes, so that an endless list ends before the machine does."""
GREEN, RED = 0, 1
"""pytest's exit codes."""

Outcome = Literal["caught", "endless", "survived"]
FORK = multiprocessing.get_context("fork")


class Target(NamedTuple):
    """A module and what guards it."""

    module: str
    tests: tuple[str, ...]
    """Files, folders or single tests, as pytest names them; quick ones first."""

    @property
    def source(self) -> str:
        """Its source."""
        return self.path.read_text()

    @property
    def path(self) -> Path:
        """Of its file."""
        return ROOT / f"{self.module.replace('.', '/')}.py"

    def mutants(self) -> list[Mutant]:
        """Return all its mutants."""
        return mutants(self.source)


class Finding(NamedTuple):
    """What became of one mutant."""

    module: str
    mutant: str
    outcome: Outcome
    seconds: float


class Unfit(Exception):
    """The tests cannot judge a mutant: they fail, or never load the module."""


class _Run(NamedTuple):
    """One run of the tests."""

    code: int
    seconds: float
    """Of processor time."""
    loaded: list[str]
    """Modules afterwards, in the order in which they were imported."""
    reached: list[Reached]
    shared: set[str]
    """Functions that prepare tests."""


def examined(
    target: Target, chosen: Sequence[Mutant], least_seconds: float = LEAST_SECONDS
) -> Iterator[Finding]:
    """Yield what becomes of each mutant. Belongs in a process of its own, which it fills up.

    Raises:
        Unfit: the tests fail on the sound module, or do not import it.
    """
    sound = compile(target.source, str(target.path), "exec")
    _preload(_sound_run(target, sound, "before anything is planted").loaded, target.module)
    run = _sound_run(target, sound, "in a forked process")
    limit = least_seconds + TIMES * run.seconds
    for mutant in chosen:
        started = time.monotonic()
        code = compile(planted(target.source, mutant.name), str(target.path), "exec")
        tests = tests_of(mutant.function, run.reached, run.shared)
        outcome = _outcome(target, code, tests, limit)
        yield Finding(target.module, mutant.name, outcome, time.monotonic() - started)


def _sound_run(target: Target, sound: CodeType, when: str) -> _Run:
    run = _forked(lambda: _tested(target, sound), None)
    if run is None or run.code != GREEN:
        raise Unfit(
            f"the tests of {target.module} fail {when}; make them pass first: "
            f"python -m pytest {' '.join(target.tests)}"
        )
    if target.module not in run.loaded:
        raise Unfit(f"the tests of {target.module} never import it; name others in targets.py")
    return run


def _outcome(target: Target, code: CodeType, tests: Sequence[str], limit: float) -> Outcome:
    if not tests:
        return "survived"
    run = _forked(lambda: _tested(target, code, tests), limit)
    if run is None:
        return "endless"
    return "survived" if run.code == GREEN else "caught"


def _forked(work: Callable[[], _Run], limit: float | None) -> _Run | None:
    """Return what `work` returns in a forked process; None if it takes too long."""
    ours, theirs = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_child, args=(work, theirs, limit))
    child.start()
    theirs.close()
    run: _Run | None = _Run(RED, 0.0, [], [], set())
    with suppress(EOFError):  # it died
        run = ours.recv() if ours.poll(limit and limit * WAITING) else None
    with suppress(ProcessLookupError):
        os.killpg(child.pid or 0, signal.SIGKILL)
    child.join()
    ours.close()
    return None if child.exitcode == -signal.SIGXCPU else run


def _child(work: Callable[[], _Run], answer: Connection, limit: float | None) -> None:
    os.setsid()
    die_with_parent(signal.SIGKILL)
    if limit:
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    answer.send(work())
    answer.close()
    # Threads of a faulty module may never end.
    os._exit(0)


def _tested(target: Target, code: CodeType, tests: Sequence[str] | None = None) -> _Run:
    """Run these tests, or all, of a module that consists of `code`."""
    import pytest  # noqa: PLC0415
    from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415

    reach = Reach(str(target.path))
    # The same examples each time, none made smaller, and no judgement by the clock.
    settings.register_profile(
        "mutants", derandomize=True, database=None, phases=(Phase.explicit, Phase.generate),
        deadline=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutants")
    sys.meta_path.insert(0, _Planter(target, code))
    os.chdir(ROOT)
    folder = tempfile.mkdtemp(prefix="mutant-")
    started = time.process_time()
    try:
        result = pytest.main(
            ["-x", "--tb=no", "-o", "addopts=-q --strict-markers", "-p", "no:cacheprovider",
             "-p", "no:benchmark", "-p", "no:xdist",
             "-W", "ignore::pytest.PytestAssertRewriteWarning", "--basetemp", f"{folder}/tests",
             *target.tests],
            plugins=[reach if tests is None else Selection(tests)],
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.process_time() - started
    return _Run(int(result), seconds, list(sys.modules), reach.found, reach.shared)


class _Planter(importlib.abc.MetaPathFinder):
    """Gives the module its faulty code as it is imported."""

    def __init__(self, target: Target, code: CodeType) -> None:
        self._target, self._code = target, code

    def find_spec(
        self, name: str, path: Sequence[str] | None, module: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._target.module:
            return None
        loader = _Planted(name, str(self._target.path), self._code)
        return importlib.util.spec_from_loader(name, loader)


class _Planted(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Kept(Exception):
    """The module must not be imported yet, nor whatever imports it."""


class _Keeper(importlib.abc.MetaPathFinder):
    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self._module:
            raise _Kept


def _preload(loaded: Sequence[str], module: str) -> None:
    """Import what the tests need, other than the module and what in turn imports it."""
    sys.meta_path.insert(0, _Keeper(module))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in loaded:
            if name.split(".")[0] not in ("tests", "__main__", "__mp_main__"):
                # Some libraries make modules that cannot be imported by name.
                with suppress(Exception):
                    importlib.import_module(name)
    sys.meta_path.pop(0)
    # pytest collects garbage at its end, several times: not what all runs have in common.
    gc.collect()
    gc.freeze()
    assert module not in sys.modules, f"{module} was imported before its fault was planted"
