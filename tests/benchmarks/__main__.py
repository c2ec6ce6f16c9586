"""`python -m tests.benchmarks [NAME...]`: measure, store the figures, and write the page from them.

Each benchmark is stored as it ends: what is interrupted goes on with `--resume`.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.report import page, store
from tests.benchmarks.report.form import Result
from tests.benchmarks.report.machine import Watch, checkout, machine, slug
from tests.benchmarks.table import BENCHMARKS

WIDTH = 120
"""Columns where there is no terminal to ask."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that were named, or all."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    chosen = _parser().parse_args(words)
    if unknown := sorted(set(chosen.names) - BENCHMARKS.keys()):
        sys.exit(f"No benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.")
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    names = [] if chosen.render else chosen.names or list(BENCHMARKS)
    if chosen.resume:
        names = lacking(names, store.stored(chosen.results), checkout())
    started = time.monotonic()
    for name in names:
        with console.status(f"measuring {name}"):
            result = measure(BENCHMARKS[name], shlex.join(words), chosen.quick)
        console.print(Markdown("\n\n".join((f"# {name}", *page.of_result(result)))))
        if not chosen.quick:
            console.print(f"{name}: stored in {store.keep(result, chosen.results)}")
    console.print(f"{len(names)} benchmarks in {time.monotonic() - started:.0f} s")
    if not chosen.quick:
        text = page.render(BENCHMARKS.values(), store.stored(chosen.results))
        chosen.page.write_text(text)


def measure(one: Benchmark, words: str, quick: bool) -> Result:
    """Run a benchmark; return its figures with all that they depend on."""
    commit, dirty = checkout()
    began, watch, started = datetime.now(UTC), Watch(), time.monotonic()
    measured = one.run(quick)
    return Result(
        benchmark=one.name,
        command=f"python -m tests.benchmarks {words}".rstrip(),
        began=began.replace(microsecond=0),
        seconds=round(time.monotonic() - started, 1),
        commit=commit,
        dirty=dirty,
        machine=machine(),
        load=watch.load(measured.detached_seconds),
        measured=measured,
    )


def lacking(names: Sequence[str], results: Sequence[Result], code: tuple[str, bool]) -> list[str]:
    """Return the benchmarks that a commit lacks on hardware like this; all in a changed tree.

    What is measured in a tree with changes belongs to no commit, and counts for none.
    """
    commit, dirty = code
    here = slug(machine())
    done = {
        result.benchmark
        for result in results
        if result.commit == commit and not result.dirty and slug(result.machine) == here
    }
    return [name for name in names if dirty or name not in done]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--resume", action="store_true", help="leave out what this commit has results of"
    )
    parser.add_argument(
        "--quick", action="store_true", help="as quickly as it can be done; store nothing"
    )
    parser.add_argument(
        "--render", action="store_true", help="measure nothing; write the page from what is stored"
    )
    parser.add_argument("--results", type=Path, default=store.RESULTS, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=page.PAGE, metavar="FILE")
    return parser


if __name__ == "__main__":
    main()
