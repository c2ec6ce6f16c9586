"""The house stands: walls, budgets, names, and no knob that nobody reads."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from flows.config import StudyConfig
from storage.config import Config
from tests.import_graph import ROOMS
from training.models.table import MODELS

ROOT = Path(__file__).parent.parent
FOLDER_FILES = 11
LARGE_FOLDERS = {
    "pipelines/synthesis": "the instruments of the demo corpora: one story, read by few",
}
"""Folders of more than `FOLDER_FILES` modules, with the reason."""
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 300, 40, 6
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "core"}

EXCEPTIONS: dict[str, str] = {
    "flows/cli/run.py:run": "each option of the command is an argument, as Typer asks",
    "flows/cli/deploy.py:serve": "the same",
    "flows/cli/deploy.py:deploy": "the same",
}
"""Functions over a budget, by `file:name`, with the reason."""


def sources(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_keep_their_budgets() -> None:
    over = []
    for path in sources(*ROOMS, "tests"):
        name = path.relative_to(ROOT).as_posix()
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES:
            over.append(f"{name}: {lines} lines")
        for function in functions(path):
            length = (function.end_lineno or 0) - function.lineno + 1
            count = len(
                [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            )
            count -= bool(function.args.args and function.args.args[0].arg in ("self", "cls"))
            excused = f"{name}:{function.name}" in EXCEPTIONS
            if not excused and (length > FUNCTION_LINES or count > ARGUMENTS):
                over.append(f"{name}:{function.name}: {length} lines, {count} arguments")
    assert not over


def test_folders_keep_their_budget() -> None:
    files = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for path in sources(*ROOMS)
        if path.name != "__init__.py"
    )
    assert {folder for folder, count in files.items() if count > FOLDER_FILES} == set(LARGE_FOLDERS)


def test_packages_say_what_is_in_them() -> None:
    """More than their name does: a stranger finds his room by it."""
    packages = [path for path in sources(*ROOMS) if path.name == "__init__.py"]
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in packages}
    assert not [path for path, text in docstrings.items() if len(text.split()) < 5]


def test_no_exception_outlives_its_reason() -> None:
    known = {
        f"{path.relative_to(ROOT).as_posix()}:{function.name}"
        for path in sources(*ROOMS, "tests")
        for function in functions(path)
    }
    assert set(EXCEPTIONS) <= known


def test_models_are_named_by_their_own_room_and_by_recipes_alone() -> None:
    """Recipes choose a model; beside them only the paper's own words name any."""
    known = re.compile("|".join(sorted({entry.split(".")[2] for entry in MODELS.values()})), re.I)
    allowed = {
        "flows/studies/mixit/recipes.py",
        "training/recipes.py",
        "training/report/published_scores.py",
    }
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in sources(*ROOMS)
        if known.search(re.sub("[-_ ]", "_", path.read_text()))
    }
    outside = {name for name in naming if not name.startswith("training/models/")}
    assert outside <= allowed, outside - allowed


def test_no_file_is_a_drawer() -> None:
    assert not [path for path in sources(*ROOMS, "tests") if path.stem in DRAWERS]


def test_docker_shadows_no_package() -> None:
    """Prefect imports a package named docker; a Python file here would stand in its place."""
    assert not sources("docker")


def test_every_knob_is_read() -> None:
    code = "\n".join(
        path.read_text() for path in sources(*ROOMS) if path.name not in ("config.py", "recipes.py")
    )
    configs = list(_configs(Config))
    assert StudyConfig in configs
    unread = [
        f"{config.__name__}.{name}"
        for config in configs
        if config.__module__.endswith(".config")
        for name in config.model_fields
        if name != "kind" and not re.search(rf"\.{name}\b", code)
    ]
    assert not unread


def _configs(base: type[Config]) -> Iterator[type[Config]]:
    for config in base.__subclasses__():
        yield config
        yield from _configs(config)


def test_nothing_names_an_index_or_this_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    words = ("py" + "pi.org", "python" + "hosted", "np" + "mjs.", "/wo" + "rk/")
    named = [
        name
        for name in listed
        if name and (ROOT / name).is_file() and (ROOT / name).suffix not in (".png",)
        if any(word in (ROOT / name).read_text(errors="replace") for word in words)
    ]
    assert not named
