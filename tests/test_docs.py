"""Pages name only paths, tests, commands, options and settings that exist.

What their blocks show is run by `tests/flows/test_examples.py`.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from docs.generate import ELSEWHERE, generated, loaded_from_elsewhere, packages, turn_links
from flows.__main__ import app
from flows.studies.request import RunRequest
from flows.studies.table import study_of_recipe
from storage.errors import ConfigError
from tests.documentation import PAGES, ROOT, Block, blocks, commands_in_prose, prose, spans

FOLDERS = ("docker", "docs", "flows", "pipelines", "storage", "tests", "training")
LINK = re.compile(r"\]\(([^)#]+)")
TEST_NAME = re.compile(r"test_\w+")
TARGET = re.compile(r"\bmake ([a-z-]+)")
MADE_BY_USERS = {"docker/.env"}
GROUP: Any = get_command(app)
GENERATED = {name: text for name, text in generated().items()}
BLOCKS = [block for page in PAGES for block in blocks(page)]
CONSOLE = [block for block in BLOCKS if block.language == "console"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_block = pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.name)


def find(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words begin with, in whatever group, and the words after it."""
    command = GROUP
    while hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, f"there is no command '{name}'"
        command = command.commands[name]
    return command, words


def parse(words: list[str]) -> dict[str, Any]:
    """Return what a command would be given; raise what it raises for words that it refuses."""
    command, given = find(words)
    parent = Context(GROUP, info_name="stemworks")
    context: Any = command.make_context(command.name, given, parent=parent)
    values: dict[str, Any] = context.params
    return values


def names_of(command: Any, prefix: str = "") -> list[str]:
    """Return the names of all commands, those of groups with the group's."""
    if not hasattr(command, "commands"):
        return [prefix.strip()]
    inside = command.commands.items()
    return [name for key, one in inside for name in names_of(one, f"{prefix} {key}")]


@each_page
def test_every_path_exists(page: Path) -> None:
    named = {text for text in spans(page) if text.split("/")[0] in FOLDERS and "/" in text}
    named = {path for path in named if not re.search(r"[<>*{} ]", path)}
    missing = [path for path in named - MADE_BY_USERS if not (ROOT / path).exists()]
    links = [link for link in LINK.findall(prose(page)) if "://" not in link]
    made = {f"docs/{name}" for name in GENERATED}
    for link in links:
        target = (page.parent / link).resolve().relative_to(ROOT)
        if not (ROOT / target).exists() and target.as_posix() not in made:
            missing.append(link)
    assert not missing


@each_page
def test_every_test_exists(page: Path) -> None:
    named = {text for text in spans(page) if TEST_NAME.fullmatch(text.removesuffix(".py"))}
    assert named <= known_tests()


@cache
def known_tests() -> set[str]:
    files = list((ROOT / "tests").rglob("test_*.py"))
    named = [re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE) for path in files]
    return {path.name for path in files} | {name for names in named for name in names}


@each_page
def test_every_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [command.text for block in blocks(page) for command in _shown(block)]
    assert {name for text in (*spans(page), *commands) for name in TARGET.findall(text)} <= targets


def _shown(block: Block) -> list[Any]:
    return block.commands if block.language == "console" else []


@each_page
def test_every_command_and_option_between_backticks_exists(page: Path) -> None:
    for words in commands_in_prose(page):
        command, given = find(words)
        known = {option for parameter in command.params for option in parameter.opts}
        options = {word.partition("=")[0] for word in given if word.startswith("--")}
        assert options - {"--help"} <= known, f"stemworks {shlex.join(words)}"


@each_block
def test_every_command_of_a_block_is_accepted(block: Block) -> None:
    """Its command, options, arguments and values; its flow, recipe and settings, too."""
    commands = block.commands
    assert commands
    for words in filter(None, (command.words for command in commands)):
        given = parse(words)
        # A file of settings is made by what the page shows, and read where that is run.
        recipe = given.get("recipe")
        if recipe and not recipe.endswith((".toml", ".json")):
            settings = given.get("settings") or []
            flow = given.get("flow") or study_of_recipe(recipe).whole
            assert RunRequest(flow, recipe, settings, "home").config


@pytest.mark.parametrize(
    "words",
    ["plan study", "status --fast", "separate model song out --shifts many", "paln study"],
)
def test_wrong_words_are_found(words: str) -> None:
    with pytest.raises((Exception, AssertionError)):
        parse(shlex.split(words))


def test_wrong_settings_are_found() -> None:
    with pytest.raises(ConfigError):
        assert RunRequest("study", "demo", ["fma.wrokers=2"], "home").config


@each_page
def test_every_block_has_a_language_that_says_whether_it_is_run(page: Path) -> None:
    """Indented code would be neither checked nor run."""
    kinds = {block.language for block in blocks(page)}
    assert kinds <= {"console", "python", ""}
    assert not [block.name for block in blocks(page) if not block.language and "$ " in block.text]
    assert not re.findall(r"(?<=\n\n) {4}\S.*stemworks .*", prose(page))


def test_no_generated_page_is_empty() -> None:
    short = [name for name, text in GENERATED.items() if len(text.splitlines()) < 3]
    assert not short
    assert set(GENERATED) >= {"settings.md", "variables.md", "commands.md", "api/index.md"}


def test_the_page_of_commands_has_them_all() -> None:
    names = names_of(GROUP)
    assert len(names) > 20
    page = GENERATED["commands.md"]
    assert not [name for name in names if f"# `stemworks {name}`\n" not in page]


def test_the_reference_has_every_public_module() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in packages().values()
        for path in folder.glob("*.py")
        if not path.stem.startswith("_")
    }
    pages = "\n".join(text for name, text in GENERATED.items() if name.startswith("api/"))
    assert modules == set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    assert len(modules) > 200


def test_links_lead_to_pages_of_the_site() -> None:
    assert (
        turn_links("[a](../DECISIONS.md#d1)", "docs/data.md", "data.md") == "[a](decisions.md#d1)"
    )
    assert turn_links("[a](docs/run.png)", "README.md", "index.md") == "[a](run.png)"
    assert turn_links("[a](../docs/x.md)", "docker/README.md", "containers.md") == "[a](x.md)"
    assert turn_links("[a](https://b.org/c)", "docs/x.md", "x.md") == "[a](https://b.org/c)"
    assert all((ROOT / source).is_file() for source in ELSEWHERE)


def test_what_a_page_loads_from_elsewhere_is_found() -> None:
    assert loaded_from_elsewhere('<script src="https://cdn.org/a.js"></script>')
    assert loaded_from_elsewhere('<link href="//fonts.org/a.css" rel="stylesheet">')
    assert not loaded_from_elsewhere('<a href="https://a.org">b</a><img src="run.png">')
