"""What the documentation shows: its pages, their blocks of code, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docker" / "README.md",
]
"""Pages that describe the present; those of decisions, changes and benchmarks tell of the past."""
NOT_RUN = r"(?P<indent> *)(?:<!-- not run: (?P<reason>[^>]*?) -->\n *)?"
FENCE = re.compile(
    rf"^{NOT_RUN}```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
PROGRAM = re.compile(r"(?:^| )(?:stemworks|docker compose run --rm flows) (?=[a-z])")
SPAN = re.compile(r"`([^`\n]+)`")


class Command(NamedTuple):
    """A command of a block, and the output that is shown below it, if any."""

    text: str
    shown: str

    @property
    def words(self) -> list[str]:
        """The words after `stemworks`, empty if it is another program's command."""
        found = PROGRAM.search(self.text)
        words = shlex.split(self.text[found.end() :], comments=True) if found else []
        return words[: words.index(">")] if ">" in words else words


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    reason: str
    """Why it is not run; empty if it is."""
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block: what follows each `$`, continued lines joined."""
        parts = re.split(r"^\$ ", self.text.replace("\\\n", ""), flags=re.MULTILINE)
        assert not parts[0].strip(), f"{self.name} does not begin with a command"
        found = []
        for part in parts[1:]:
            command, _, shown = part.partition("\n")
            found.append(Command(command, shown))
        return found


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, indented ones without their indentation."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        lines = match["text"].splitlines()
        body = "\n".join(line.removeprefix(match["indent"]) for line in lines)
        number = text[: match.start("language")].count("\n") + 1
        found.append(Block(page, number, match["language"], match["reason"] or "", body))
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """Return what stands between backticks in a page's prose."""
    return SPAN.findall(prose(page))


def commands_in_prose(page: Path) -> Iterator[list[str]]:
    """Yield the words of each `stemworks` command between backticks, after the program's name."""
    for text in spans(page):
        if found := PROGRAM.search(text):
            yield shlex.split(text[found.end() :], comments=True)
