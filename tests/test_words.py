"""Strings and docstrings are plain modern English, without phrases that are hard to understand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGES = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "docker" / "README.md")

ROOMS = ("flows", "pipelines", "storage", "training")
"""Packages and modules whose every string is checked."""

UNCHECKED: tuple[str, ...] = ()
"""Modules of these packages that are yet to be revised."""

ALLOWED = {
    "stemworks: a crashed run begins again": "an automation of an earlier release",
}
"""Strings that contain a phrase for a reason."""

BANNED = {
    "told": "reported, shown, notified; asked to stop",
    "it goes on": "it continues, it resumes",
    "goes on": "continues, resumes, is still running",
    "go on with": "resume with, continue with",
    "begins again": "restarts",
    "begin again": "restart",
    "whoever": "the caller, the process, the operator, anyone who",
    "seen to": "handled",
    "comes of": "results from",
    "stands for": "identifies, means",
    "bear": "have, support",
    "bears": "has, supports",
    "nobody": "no process, no user",
    "somebody": "an operator, another process",
    "put aside": "kept, set apart",
    "taken up": "started, resumed",
    "takes up": "starts, resumes",
    "took it up": "started it",
    "of theirs": "their",
    "of ours": "of Stemworks",
    "is no more": "has died, does not exist",
    "lives no more": "has died",
    "by itself": "automatically",
    "by themselves": "automatically",
    "again, it": "a later run",
    "without a word": "silently",
    "he": "it",
    "his": "its",
    "him": "it",
    "anew": "again",
    "mend": "correct, repair",
    "at rest": "stored",
    "for ever so": "for a long time",
    "want of": "lack of",
    "is gone": "is missing, has died",
    "are gone": "are missing, have died",
}
"""A phrase, and what to write instead."""

PATTERN = re.compile(
    r"(?<![\w'])(" + "|".join(sorted(map(re.escape, BANNED), key=len, reverse=True)) + r")(?!\w)",
    re.IGNORECASE,
)


def files_of(room: str) -> list[Path]:
    path = ROOT / room
    unchecked = {ROOT / name for name in UNCHECKED}
    return [path] if path.suffix else sorted(set(path.rglob("*.py")) - unchecked)


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string of a module, docstrings and f-strings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())


def offences(source: str) -> list[tuple[int, str]]:
    """Return line and phrase of every banned phrase."""
    return [
        (line, found.group().lower())
        for line, text in texts_of(ast.parse(source))
        if text not in ALLOWED
        for found in PATTERN.finditer(text)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_no_banned_phrase(room: str) -> None:
    files = files_of(room)
    assert files, f"{room} does not exist: correct ROOMS"
    found = [
        f"{path.relative_to(ROOT)}:{line}: '{phrase}'; write: {BANNED[phrase]}"
        for path in files
        for line, phrase in offences(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_banned_phrase_in_the_documentation(page: Path) -> None:
    """Quoted messages and code are checked where they are written."""
    found = [
        f"{page.relative_to(ROOT)}:{number}: '{phrase.group().lower()}'"
        for number, line in enumerate(page.read_text().splitlines(), start=1)
        if not line.startswith("    ")
        for phrase in PATTERN.finditer(re.sub(r"`[^`]*`", "`", line))
    ]
    assert not found, "\n".join(found)


def test_the_check_finds_phrases_in_docstrings_messages_and_f_strings() -> None:
    source = (
        '"""A runner, told\n    of a run."""\n'
        'name = "their"\n'
        "raise ValueError(f'run {name} is gone; again, it resumes')\n"
    )
    assert offences(source) == [(1, "told"), (4, "is gone"), (4, "again, it")]


def test_the_check_leaves_words_alone_that_contain_a_phrase() -> None:
    assert offences('"""The heartbeat of this machine: untold, bearing, history."""') == []
