"""Warm interpreters: started with a server, for those who have their variables, and ended."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.warm import FOLDER

HAND_OVER = "from tests.warm.client import hand_over\nhand_over()\n"
ROOT = Path(__file__).parents[2]


def variables(folder: Path) -> dict[str, str]:
    """Return the environment variables with which processes are warm."""
    given = os.environ.get("PYTHONPATH", "")
    paths = [str(folder), str(ROOT), *([given] if given else [])]
    return {FOLDER: str(folder), "PYTHONPATH": os.pathsep.join(paths)}


def start(folder: Path, given: Mapping[str, str], *modules: str) -> None:
    """Start an interpreter for each module with an environment; they listen when this returns."""
    (folder / "sitecustomize.py").write_text(HAND_OVER)
    given = {**given, "PYTHONPATH": variables(folder)["PYTHONPATH"]}
    for module in modules:
        log = folder / f"{module}.log"
        with log.open("ab") as stream:
            words = [sys.executable, "-m", "tests.warm", module, str(folder)]
            started = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=given,
                start_new_session=True, check=False,
            )  # fmt: skip
        assert started.returncode == 0, log.read_text()


def stop(folder: Path) -> None:
    """Let the interpreters end: each does when its socket is gone."""
    for place in folder.glob("*.socket"):
        place.unlink()
