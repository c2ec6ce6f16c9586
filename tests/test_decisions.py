"""Decisions have numbers for good, a status, and a row in the table at the top of their page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "DECISIONS.md"
DECISION = re.compile(r"^### D(\d+)\n\n\*(.+?)\.\*\n\*\*(.+?)\*\*", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| \[D(\d+)\]\(#d(\d+)\) \| (.+) \| (.+) \|$", re.MULTILINE)
REPLACED = re.compile(r"replaced by \[D(\d+)\]\(#d(\d+)\)")
REFERENCE = re.compile(r"\bD([1-9]\d*)\b")
READ = ("flows", "pipelines", "storage", "training", "tests", "docs", "docker")


class Decision(NamedTuple):
    number: int
    status: str
    title: str


def decisions(text: str) -> list[Decision]:
    return [
        Decision(int(number), status[0].lower() + status[1:], " ".join(title.split()).rstrip(".:"))
        for number, status, title in DECISION.findall(text)
    ]


def faults(text: str) -> list[str]:
    """Return a sentence for everything that is wrong with a page of decisions."""
    found = decisions(text)
    numbers = [one.number for one in found]
    wrong = []
    if numbers != list(range(len(found), 0, -1)):
        wrong.append(f"not numbered from {len(found)} down to 1: {numbers}")
    headings = text.count("\n### ")
    if headings != len(found):
        wrong.append(f"{headings} headings, but {len(found)} decisions with a status and a title")
    if bare := re.findall(r"\n\n(\*\*.+)", text):
        wrong.append(f"decisions without a number: {bare}")
    wrong += [sentence for one in found for sentence in _wrong_status(one, numbers)]
    return wrong + _wrong_rows(text, found)


def _wrong_status(decision: Decision, numbers: list[int]) -> Iterator[str]:
    if decision.status in ("stands", "negative result"):
        return
    later = REPLACED.fullmatch(decision.status)
    if not later or later[1] != later[2]:
        yield f"D{decision.number} has the unknown status '{decision.status}'"
    elif int(later[1]) not in numbers or int(later[1]) <= decision.number:
        yield f"D{decision.number} is replaced by D{later[1]}, which is no later decision"


def _wrong_rows(text: str, found: list[Decision]) -> list[str]:
    rows = [Decision(int(row[0]), row[3], row[2]) for row in ROW.findall(text)]
    if [row.number for row in rows] != [one.number for one in found]:
        return ["the table has other numbers than the page"]
    return [
        f"the row of D{one.number} should be: {one.title} | {one.status}"
        for row, one in zip(rows, found, strict=True)
        if row.status != one.status or not _same(row.title, one.title)
    ]


def _same(short: str, title: str) -> bool:
    return short == title or (short.endswith(" ...") and title.startswith(short[:-4]))


def test_decisions_are_numbered_and_have_a_status_and_a_row() -> None:
    text = PAGE.read_text()
    assert len(decisions(text)) >= 89
    assert not faults(text)


def test_references_name_decisions_that_exist() -> None:
    pages = [path for path in ROOT.glob("*.md") if path != PAGE]
    for folder in READ:
        pages += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
    numbers = {one.number for one in decisions(PAGE.read_text())}
    named = {
        (path.relative_to(ROOT).as_posix(), int(number))
        for path in {*pages, PAGE} - {Path(__file__)}
        for number in REFERENCE.findall(path.read_text())
    }
    assert not {one for one in named if one[1] not in numbers}


GOOD = """# Decisions

| number | decision | status |
|---|---|---|
| [D2](#d2) | Two ... | stands |
| [D1](#d1) | One | replaced by [D2](#d2) |

## A day

### D2

*Stands.*
**Two
and more.** Why.

### D1

*Replaced by [D2](#d2).*
**One** because.
"""


def test_every_fault_is_found() -> None:
    assert not faults(GOOD)
    broken = {
        "not numbered": GOOD.replace("### D2", "### D3"),
        "1 decisions with a status": GOOD.replace("*Stands.*\n", ""),
        "without a number": GOOD + "\n**Three** too.\n",
        "unknown status": GOOD.replace("*Stands.*", "*Perhaps.*"),
        "no later decision": GOOD.replace("[D2](#d2).*", "[D3](#d3).*"),
        "other numbers": GOOD.replace("| [D1](#d1)", "| D1"),
        "row of D1 should be": GOOD.replace("| One |", "| Once |"),
        "row of D2 should be": GOOD.replace("| stands |", "| negative result |"),
    }
    for sentence, text in broken.items():
        assert any(sentence in fault for fault in faults(text)), sentence
