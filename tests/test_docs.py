"""The pages in `docs/` name only paths, tests and commands that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from flows.__main__ import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "docker" / "README.md"]
FOLDERS = ("docker", "docs", "flows", "pipelines", "storage", "tests", "training")
SPAN = re.compile(r"`([^`]+)`")
BLOCK = re.compile(r"^ {4,}(\S.*)$", re.MULTILINE)
PROGRAM = re.compile(r"(?:^| )(?:stemworks|docker compose run --rm flows) (?=[a-z])")
LINK = re.compile(r"\]\(([^)#]+)")
TEST_NAME = re.compile(r"test_\w+")
MADE_BY_USERS = {"docker/.env"}
EVERY_COMMAND = get_command(app)

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def spans(page: Path) -> list[str]:
    return SPAN.findall(page.read_text())


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every `stemworks` command of a page, after the program's name."""
    blocks = BLOCK.findall(page.read_text().replace("\\\n", " "))
    for text in (*spans(page), *blocks):
        if "`" not in text and (found := PROGRAM.search(text)):
            yield shlex.split(text[found.end() :], comments=True)


def test_every_path_exists(page: Path) -> None:
    named = {text for text in spans(page) if text.split("/")[0] in FOLDERS and "/" in text}
    missing = [path for path in named - MADE_BY_USERS if not (ROOT / path).exists()]
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_every_test_exists(page: Path) -> None:
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for path in (ROOT / "tests").rglob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    named = {text for text in spans(page) if TEST_NAME.fullmatch(text.removesuffix(".py"))}
    assert named <= known


def test_every_command_and_option_exists(page: Path) -> None:
    known: dict[str, set[str]] = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in EVERY_COMMAND.commands.items()  # type: ignore[attr-defined]
    }
    for name, *words in commands(page):
        assert name in known, f"stemworks {name}"
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known[name], f"stemworks {name} {shlex.join(words)}"
