"""`python -m tests.mutants [--module NAME] [--all]`: plant small faults, and see who notices.

Exit code 1 if a mutant survived that `harmless.py` does not name, if fewer than 90 in 100 were
caught, or if an entry of `harmless.py` names no mutant.
"""

import argparse
import hashlib
import importlib
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from rich.console import Console
from rich.table import Table

from storage.processes import die_with_parent
from tests.mutants.harmless import reasons
from tests.mutants.plant import Mutant
from tests.mutants.targets import SAMPLE, TARGETS
from tests.mutants.trial import FORK, LEAST_SECONDS, Finding, Target, Unfit, examined

SAMPLED = 40
"""Mutants of a module, at most, unless all are asked for."""
WANTED = 0.9
"""Share of the planted faults that the tests must notice."""
WIDTH = 140
UNFIT, INTERRUPTED = 2, 130
"""Exit codes."""
LIBRARIES = {
    "training": ("torch", "scipy.optimize"),
    "flows": ("torch", "scipy.optimize", "httpx"),
    "storage": ("av", "soundfile", "boto3"),
    "pipelines": ("av", "soundfile", "soxr"),
    "tests": (),
}
"""What the tests of a room take long to import: done once, before anything forks."""


Work = Sequence[tuple[Target, list[Mutant]]]


def chosen(target: Target, seed: int, everything: bool) -> list[Mutant]:
    """Return the mutants to plant: `SAMPLED` of them, or all.

    Which they are depends on their names alone, so an edit elsewhere in the module leaves them.
    """
    mutants = target.mutants()
    if everything:
        return mutants
    lots = {one: hashlib.sha256(f"{seed}:{one.name}".encode()).digest() for one in mutants}
    picked = set(sorted(mutants, key=lots.__getitem__)[:SAMPLED])
    return [one for one in mutants if one in picked]


def found(work: Work, jobs: int, least_seconds: float) -> Iterator[Finding | Unfit]:
    """Examine modules, `jobs` at a time, the longest first; yield what is found as it is."""
    for room in {target.module.split(".")[0] for target, _ in work}:
        for library in LIBRARIES[room]:
            importlib.import_module(library)
    waiting = sorted(work, key=lambda one: len(one[1]))
    running: dict[Connection, BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, theirs = FORK.Pipe(duplex=False)
                process: BaseProcess = FORK.Process(
                    target=_examine, args=(*waiting.pop(), least_seconds, theirs)
                )
                process.start()
                theirs.close()
                running[ours] = process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    yield ready.recv()
                except EOFError:
                    running.pop(ready).join()
    finally:
        for process in running.values():
            process.kill()


def _examine(
    target: Target, mutants: list[Mutant], least_seconds: float, answers: Connection
) -> None:
    die_with_parent()
    with suppress(KeyboardInterrupt):
        try:
            for finding in examined(target, mutants, least_seconds):
                answers.send(finding)
        except Unfit as error:
            answers.send(error)


def table_of(work: Work, findings: Sequence[Finding]) -> Table:
    """Return what became of the mutants, by module."""
    table = Table("module", "planted", "caught", "of them endless", "harmless", "survived", "s")
    by_module = defaultdict(list)
    for finding in findings:
        by_module[finding.module].append(finding)
    for target, _ in work:
        table.add_row(target.module, *_row(by_module[target.module]))
    table.add_section()
    table.add_row("all", *_row(findings))
    return table


def _row(findings: Sequence[Finding]) -> list[str]:
    caught = sum(one.outcome != "survived" for one in findings)
    unnamed = len(unexplained(findings))
    numbers = [
        len(findings),
        caught,
        sum(one.outcome == "endless" for one in findings),
        len(findings) - caught - unnamed,
        unnamed,
        round(sum(one.seconds for one in findings)),
    ]
    return [str(number) for number in numbers]


def unexplained(findings: Sequence[Finding]) -> list[Finding]:
    """Return the survivors that no reason is named for."""
    return [
        one
        for one in findings
        if one.outcome == "survived" and one.mutant not in reasons(one.module)
    ]


def outdated(work: Work) -> list[str]:
    """Return the entries of `harmless.py` that name no mutant of their module."""
    return [
        f"{target.module}: {mutant}"
        for target, _ in work
        for mutant in reasons(target.module).keys() - {one.name for one in target.mutants()}
    ]


def told(console: Console, work: Work, findings: Sequence[Finding]) -> int:
    """Show the table, and what is wrong; return the exit code."""
    console.print(table_of(work, findings))
    survivors = unexplained(findings)
    names = outdated(work)
    for name in names:
        say(console, f"NO SUCH MUTANT {name}")
    for one in findings:
        if one.outcome != "survived" and one.mutant in reasons(one.module):
            say(console, f"CAUGHT AFTER ALL {one.module}: {one.mutant}")
    caught = sum(one.outcome != "survived" for one in findings) / max(1, len(findings))
    console.print(f"{caught:.1%} caught, {len(survivors)} survivors without a reason")
    return int(bool(survivors or names) or caught < WANTED)


def main() -> int:
    """Plant, tell, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    known = {**TARGETS, "sample": SAMPLE}
    parser.add_argument("--module", action="append", choices=sorted(known), help="only this one")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--named", help="those whose names contain this text")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="modules examined at a time")
    parser.add_argument("--least-seconds", type=float, default=LEAST_SECONDS)
    given = parser.parse_args()
    # A script's background command would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    targets = [known[name] for name in given.module or TARGETS]
    work = [(target, chosen(target, given.seed, given.all)) for target in targets]
    if given.named:
        work = [
            (target, [one for one in target.mutants() if given.named in one.name])
            for target in targets
        ]
    started, findings = time.monotonic(), []
    total = sum(len(mutants) for _, mutants in work)
    unfit = interrupted = False
    try:
        with console.status("") as status:
            for finding in found(work, given.jobs, given.least_seconds):
                if isinstance(finding, Unfit):
                    say(console, f"UNFIT {finding}")
                    unfit = True
                    continue
                findings.append(finding)
                status.update(f"{len(findings)}/{total} {finding.module}")
                if unexplained([finding]):
                    say(console, f"SURVIVED {finding.module}: {finding.mutant}")
    except KeyboardInterrupt:
        interrupted = True
    code = told(console, work, findings)
    console.print(f"{len(findings)} of {total}, {time.monotonic() - started:.0f} s")
    return INTERRUPTED if interrupted else UNFIT if unfit else code


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
