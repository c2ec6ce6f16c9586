"""`python -m tests.gameday [FAULT...] [--recipe NAME] [--json FILE]`: disturb a study on purpose.

Each fault strikes a copy of a home in which the study was done; the stages that it strikes are
undone there. Exit code 1 if a study does not end with the same digests, or leaves anything behind.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.gameday.faults import FAULTS, hold
from tests.gameday.ground import Ground, ground
from tests.gameday.scene import Trial

WIDTH = 160


def held(here: Ground, fault: str) -> Trial:
    """Hold one trial; one that this machine cannot hold says so, and is no success."""
    try:
        return hold(here, fault)
    except pytest.skip.Exception as missing:
        return Trial(fault, faults=[f"not run: {missing.msg}"])
    except subprocess.CalledProcessError as refused:
        return Trial(fault, faults=[f"not run: {refused}"])


def table_of(trials: list[Trial]) -> Table:
    """Return what was done and what came of it."""
    table = Table(
        "fault", "where it struck", "what was seen", "resumed by", "s to work", "redone",
        "same digests", show_lines=True,
    )  # fmt: skip
    for trial in trials:
        table.add_row(
            trial.fault, trial.struck, "\n".join(trial.seen), trial.resumed,
            f"{trial.recovery_seconds:.0f}", ", ".join(trial.redone), "yes" if trial.same else "NO",
        )  # fmt: skip
    return table


def main() -> int:
    """Hold the game day, tell, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.gameday", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    parser.add_argument("--at", type=Path, metavar="DIR", help="keep the undisturbed study there")
    chosen = parser.parse_args()
    # What was started is ended, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unknown = sorted(set(chosen.faults) - FAULTS.keys())
    if unknown:
        parser.error(f"no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    root = chosen.at or Path(tempfile.mkdtemp(prefix="gameday-"))
    started, trials = time.monotonic(), []
    with ground(root.resolve(), chosen.recipe) as here:
        console.print(f"the undisturbed study took {time.monotonic() - started:.0f} s")
        for fault in chosen.faults or FAULTS:
            trials.append(held(here, fault))
            console.print(f"{fault}: {trials[-1].seconds:.0f} s, {len(trials[-1].faults)} faults")
    console.print(table_of(trials))
    faults = [f"{trial.fault}: {fault}" for trial in trials for fault in trial.faults]
    for fault in faults:
        console.print(f"FAULT {fault}", soft_wrap=True)
    console.print(f"{len(faults)} faults, {time.monotonic() - started:.0f} s")
    if chosen.json:
        told = {"recipe": chosen.recipe, "trials": [trial.plain() for trial in trials]}
        chosen.json.write_text(json.dumps(told, indent=2) + "\n")
    if faults:
        console.print(f"what is left lies in {root}")
    elif not chosen.at:
        shutil.rmtree(root)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
