"""Warm interpreters: processes of the tests that need not import Prefect and torch each anew.

`python -m flows ...` and `python -m training ...` spend more time on imports than the tiny studies
of the tests give them to do. Where the environment names a folder of warm interpreters, such a
process hands itself over when it starts (`client.py`, by way of a `sitecustomize.py`): its words,
environment, folder and open files go to an interpreter that has imported everything, which forks
(`__main__.py`), and the fork runs the module as `python -m` does. The process that was started
stays: it passes signals on, and ends as the fork ends, with the same exit code or by the same
signal. If it is killed, the fork is.

What is not as in a process of its own: the imports, the allocator's settings, the process id that
is noted in locks and heartbeats, and that a stopped process (SIGSTOP) does not stop its fork. So
what a test kills or stops is never warm (`Works.start`), nor what brings variables of Prefect.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.server.settings import ServerSettings, shared_environment

FOLDER = "STEMWORKS_TESTS_WARM"
"""Environment variable: where the sockets are."""
MODULES = ("flows", "training")
"""What is run warm; each has an interpreter of its own, and a socket of its name."""
HAND_OVER = "from tests.warm.client import hand_over\nhand_over()\n"
ROOT = Path(__file__).parents[2]
START_SECONDS = 600.0


def variables(folder: Path) -> dict[str, str]:
    """Return the environment variables with which processes are warm."""
    given = os.environ.get("PYTHONPATH", "")
    paths = [str(folder), str(ROOT), *([given] if given else [])]
    return {FOLDER: str(folder), "PYTHONPATH": os.pathsep.join(paths)}


def start(folder: Path, server: ServerSettings) -> None:
    """Start the interpreters of a server in a folder, and wait until they listen."""
    (folder / "sitecustomize.py").write_text(HAND_OVER)
    paths = {"PYTHONPATH": variables(folder)["PYTHONPATH"]}
    # Prefect sets up its logging when it is imported.
    given = {**os.environ, **shared_environment(server), **paths}
    for module in MODULES:
        with (folder / f"{module}.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "tests.warm", module, str(folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=given, start_new_session=True,
            )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while not all((folder / module).exists() for module in MODULES):
        assert time.monotonic() < deadline, [one.read_text() for one in folder.glob("*.log")]
        time.sleep(0.1)


def stop(folder: Path) -> None:
    """Let the interpreters end: each does when its socket is gone."""
    for module in MODULES:
        (folder / module).unlink(missing_ok=True)
