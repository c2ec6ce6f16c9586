"""BENCHMARKS.md, from the table of benchmarks and the stored results alone."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.report.form import Comparison, Figure, Load, Machine, Measurement, Result
from tests.benchmarks.report.machine import ROOT
from tests.benchmarks.report.numbers import number, seconds, spread, verdict, with_unit
from tests.benchmarks.report.store import newest

PAGE = ROOT / "BENCHMARKS.md"
KINDS = ("CPU", "GPU")
UNMEASURED = "**Not measured.**"
WIDTH = 100
"""Characters of a line of text."""
IDLE = 0.1
"""Share of the cores up to which other work is no disturbance."""
HEAD = """\
# Benchmarks

This page is written by `python -m tests.benchmarks --render` from the figures in
`tests/benchmarks/results/`, which `python -m tests.benchmarks` stores; nothing on it is typed by
hand, and a test holds it to them. Each table is one run, the latest of its kind of machine.

    make bench                                               # measure everything
    .venv/bin/python -m tests.benchmarks reading scoring     # some of it
    .venv/bin/python -m tests.benchmarks --resume            # what this commit still lacks
    .venv/bin/python -m tests.benchmarks --quick             # does it run? Stores nothing

Every variant runs once unmeasured, except where the words say so; then all take turns, round by
round, in an order that turns by one place, so that whatever else the machine does happens to all of
them. A ratio is the median over rounds of two variants' times **in the same round**; *time against
ours* above 1 means that ours is faster. The role `plain` is the literal transcription of the paper,
`library` what one would otherwise take, `floor` the part of the work that no code can do without,
`other` another setting or a part. Trust ratios more than times, and neither where the machine was
not idle. Nothing asserts a time.
"""


def render(benchmarks: Iterable[Benchmark], results: Iterable[Result]) -> str:
    """Return the page."""
    latest = newest(results)
    sections = []
    for one in benchmarks:
        found = [latest[one.name, kind] for kind in KINDS if (one.name, kind) in latest]
        sections.append(section(one, found))
    return "\n".join([HEAD, *sections])


def section(one: Benchmark, results: Sequence[Result]) -> str:
    """Return a benchmark's words, and each kind of machine's result."""
    parts = [f"## {one.title} (`{one.name}`)", *map(wrapped, one.words.strip().split("\n\n"))]
    parts += ["\n\n".join(of_result(result)) for result in results] or [UNMEASURED]
    parts.append(wrapped(f"Not shown: {one.omitted}"))
    return "\n\n".join(parts) + "\n"


def wrapped(text: str) -> str:
    """Return a paragraph in lines of the page's width."""
    return textwrap.fill(
        " ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False
    )


def of_result(result: Result) -> Iterator[str]:
    """Yield where and when, then the tables."""
    yield heading(result)
    yield from tables(result.measured)


def tables(measured: Measurement) -> Iterator[str]:
    """Yield the tables that are not empty, and the remarks."""
    every = (times(measured), comparisons(measured), alone(measured), cases(measured))
    yield from (one for one in every if one)
    if measured.remarks:
        yield "\n".join(f"- {remark}" for remark in measured.remarks)


def heading(result: Result) -> str:
    """Say by which command, of which code, where, and beside which other work."""
    code = f"at commit {result.commit[:10]}" if result.commit else "outside a checkout"
    if result.commit and result.dirty:
        code += ", with changes that are not committed"
    parts = [
        f"**Measured on {result.began.date().isoformat()}, {result.machine.kind}**, in "
        f"{result.seconds:.0f} s, by `{result.command}`, {code}.",
        f"{hardware(result.machine)}.",
        f"{software(result.machine)}.",
        busy(result.load, result.machine.cores),
    ]
    return "\n".join(parts)


def hardware(machine: Machine) -> str:
    """Return the machine in words."""
    gpu = f"{machine.gpu}; " if machine.gpu else ""
    return (
        f"{gpu}{machine.cores} cores of {machine.processor} with {machine.vector_instructions}, "
        f"{machine.memory_gb} GB of memory"
    )


def software(machine: Machine) -> str:
    """Return the versions."""
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    threads = f"{machine.torch_threads} thread{'s' * (machine.torch_threads > 1)}"
    return f"Python {machine.python}, {libraries}; torch with {threads}"


def busy(load: Load, cores: int) -> str:
    """Say how busy the machine was, and warn where it had other work."""
    warning = "" if load.elsewhere <= IDLE * cores else " **The machine was not idle.**"
    return (
        f"Other processes kept {load.elsewhere:.2f} of the cores busy meanwhile; load average "
        f"{load.before:.2f} before and {load.after:.2f} after.{warning}"
    )


def times(measured: Measurement) -> str:
    """Return the variants' table."""
    if not measured.rows:
        return ""
    clock = {"wall": "median", "processor": "median, processor time"}[measured.clock]
    heads = ("variant", "role", clock, "fastest to slowest", "rounds", "time against ours")
    body = [
        (
            row.variant, row.role, seconds(row.median), spread(row.seconds, "s") or "one round",
            str(len(row.seconds)), number(measured.against_ours(row)),
        )
        for row in measured.rows
    ]  # fmt: skip
    return f"Each works through {number(measured.amount)} {measured.unit}.\n\n{table(heads, body)}"


def comparisons(measured: Measurement) -> str:
    """Return what else is compared."""
    heads = ("compared", "ratio", "target")
    body = [_compared(measured, one) for one in measured.comparisons]
    return table(heads, body) if body else ""


def _compared(measured: Measurement, one: Comparison) -> tuple[str, str, str]:
    ratio = measured.ratio(one)
    return one.what, f"{number(ratio)} x", verdict(ratio, "x", one.target)


def alone(measured: Measurement) -> str:
    """Return the figures that were taken in one case only."""
    heads = ("figure", "value", "least to greatest", "target")
    body = [
        (
            one.what, with_unit(one.median, one.unit), spread(one.values, one.unit),
            verdict(one.median, one.unit, one.target),
        )
        for one in measured.figures
        if not one.case
    ]  # fmt: skip
    return table(heads, body) if body else ""


def cases(measured: Measurement) -> str:
    """Return the figures that were taken in several cases, a column for each case."""
    found = [one for one in measured.figures if one.case]
    names = list(dict.fromkeys(one.case for one in found))
    cells = {(one.what, one.case): one for one in found}
    body = [
        (what, *(_cell(cells.get((what, case))) for case in names))
        for what in dict.fromkeys(one.what for one in found)
    ]
    return table(("figure", *names), body) if body else ""


def _cell(one: Figure | None) -> str:
    if one is None:
        return ""
    extra = [spread(one.values, one.unit), verdict(one.median, one.unit, one.target)]
    said = "; ".join(text for text in extra if text)
    return with_unit(one.median, one.unit) + (f" ({said})" if said else "")


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *lines = (f"| {' | '.join(line)} |" for line in (heads, *body))
    return "\n".join([head, "|" + "---|" * len(heads), *lines])
