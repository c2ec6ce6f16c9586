"""Walls between the rooms hold: what is planted on the wrong side of one breaks the build."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.import_graph import ROOMS, circle, imports, modules, way

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
BY_NAME = "storage.unions"
"""Imports what a table of kinds names; nobody else imports by a string."""
TABLE = re.compile(rf"({'|'.join(ROOMS)})(\.\w+)+:\w+")


class Plant(NamedTuple):
    """What to add to a file in a copy of the tree, and the contract that it breaks.

    Each has a file of its own, by which it is known among those that break the same contract.
    """

    path: str
    text: str
    contract: str


PLANTS = {
    "prefect in pipelines": Plant(
        "pipelines/archives/planted.py", "import prefect\n", "Prefect lives only in flows"
    ),
    "prefect in a stage": Plant(
        "flows/stages/client.py",
        "from prefect.client.orchestration import get_client\n",
        "Prefect only where its engine or client is needed",
    ),
    "prefect in a study, by way of the page": Plant(
        "flows/studies/planted.py",
        "from flows.ui.artifacts import Artifact\n",
        "Prefect only where its engine or client is needed",
    ),
    "boto3 in pipelines": Plant(
        "pipelines/planted/planted.py", "import boto3\n", "boto3 lives only in storage.stores.s3"
    ),
    "training in pipelines": Plant(
        "pipelines/packing/planted.py",
        "from training.config import TrainConfig\n",
        "The house: flows -> pipelines | training -> storage",
    ),
    "torch in flows": Plant(
        "flows/planted.py", "import torch\n", "Flows hold recipes and reports, never torch"
    ),
    "torch in storage": Plant(
        "storage/audio/planted.py", "from torch import nn\n", "torch lives only in training"
    ),
    "torch in a report": Plant(
        "training/report/planted.py",
        "from training.checkpoints.checkpoint import save\n",
        "Reports, recipes and configuration know no torch",
    ),
    "flows in storage": Plant(
        "storage/planted.py",
        "from flows.config import StudyConfig\n",
        "The house: flows -> pipelines | training -> storage",
    ),
    "an import within a function": Plant(
        "pipelines/tracks/planted.py",
        "def late() -> None:\n    from training.jobs.train import train\n\n    train()\n",
        "The house: flows -> pipelines | training -> storage",
    ),
    "a command in a stage": Plant(
        "flows/stages/command.py", "from flows.cli.output import View\n", "Floors of flows"
    ),
    "a stage in a configuration": Plant(
        "flows/config.py", "from flows.stages.stage import Stage\n", "Floors of flows"
    ),
    "a job in the loop": Plant(
        "training/engine/planted.py",
        "from training.jobs.train import train\n",
        "Floors of training",
    ),
    "a loop in a model": Plant(
        "training/models/planted.py",
        "from training.engine.loop import Training\n",
        "Models and losses are mathematics: no files, no runs, no logs",
    ),
    "a new room without a floor": Plant(
        "training/planted/__init__.py", '"""New."""\n', "Floors of training"
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copied(tmp_path)


def copied(folder: Path) -> Path:
    """Copy the rooms into a folder, with the contracts."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def plant(tree: Path, path: str, text: str) -> None:
    """Add to a file, or to a new one in a package."""
    target = tree / path
    if not target.parent.exists():
        target.parent.mkdir()
        (target.parent / "__init__.py").touch()
    with target.open("a") as stream:
        stream.write(text)


def check(tree: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run one of the tools that guard the walls."""
    program, *arguments = command
    return subprocess.run(
        [BIN / program, *arguments], cwd=tree, capture_output=True, text=True, check=False
    )


def test_an_untouched_copy_passes(tree: Path) -> None:
    answer = check(tree, "lint-imports", "--no-cache")
    assert answer.returncode == 0, answer.stdout
    assert "0 broken" in answer.stdout
    answer = check(tree, "ruff", "check", "--no-cache", "--select", "INP001", *ROOMS)
    assert answer.returncode == 0, answer.stdout
    assert not circle(tree)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each broken contract in a tree where all is planted at once."""
    tree = copied(tmp_path_factory.mktemp("planted"))
    for planted in PLANTS.values():
        plant(tree, planted.path, planted.text)
    answer = check(tree, "lint-imports", "--no-cache")
    assert answer.returncode == 1, answer.stdout
    names = re.findall(r"^(.+) BROKEN", answer.stdout, re.MULTILINE)
    _, _, explained = answer.stdout.partition("Broken contracts")
    parts = re.split(rf"^({'|'.join(map(re.escape, names))})$", explained, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("planted", PLANTS.values(), ids=list(PLANTS))
def test_a_planted_import_breaks_the_build(broken: dict[str, str], planted: Plant) -> None:
    module = planted.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert re.search(rf"\b{re.escape(module)}\b", broken[planted.contract]), broken


def test_folders_that_are_no_packages_break_the_build(tree: Path) -> None:
    """Import-linter does not see them: an import there would pass."""
    folders = ["pipelines/attic", "flows/stages/attic", "tests/pipelines/attic"]
    shutil.copytree(ROOT / "tests" / "flows" / "server", tree / "tests" / "pipelines")
    for folder in folders:
        (tree / folder).mkdir(parents=True)
        text = '"""Here."""\n\nimport prefect\n\nprefect.flow()\n'
        (tree / folder / "planted.py").write_text(text)
    assert "planted" not in check(tree, "lint-imports", "--no-cache").stdout
    answer = check(tree, "ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert answer.returncode == 1, answer.stdout
    for folder in folders:
        assert re.search(rf"^{folder}/planted.py:.* INP001", answer.stdout, re.MULTILINE)


def test_no_modules_import_each_other() -> None:
    assert not circle(ROOT)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "within a function"])
def test_a_planted_circle_is_found(tree: Path, late: bool) -> None:
    line = "from storage.home.marks import Mark\n"
    text = f"def late() -> object:\n    {line}\n    return Mark\n" if late else line
    plant(tree, "storage/config.py", text)
    found = circle(tree)
    assert {"storage.config", "storage.home.marks"} <= set(found)


def test_nothing_is_imported_by_a_string() -> None:
    """But for kinds of settings, whose tables name their code: settings are read without torch."""
    assert not [one for one in imports(ROOT) if one.by_string and one.importer != BY_NAME]
    known = modules(ROOT)
    named = [
        (name, str(node.value).partition(":")[0])
        for name, path in known.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and TABLE.fullmatch(str(node.value))
    ]
    assert named
    assert not [code for _, code in named if code not in known]
    # A table names what lies beside it: by its strings, too, no wall is crossed.
    beside = {name: name.removesuffix("table") for name, _ in named}
    assert not [(name, code) for name, code in named if not code.startswith(beside[name])]


def test_an_import_by_a_string_is_found(tree: Path) -> None:
    """Of a literal the module is known, and counts in circles, too."""
    plant(
        tree,
        "storage/planted/planted.py",
        "import importlib\n\nWHAT = 'training'\nimportlib.import_module('training.jobs.train')\n"
        "importlib.import_module(WHAT)\n",
    )
    found = [one for one in imports(tree) if one.importer == "storage.planted.planted"]
    strings = [(one.line, one.imported) for one in found if one.by_string]
    assert strings == [(4, "training.jobs.train"), (5, "?")]
    assert way(tree, "storage", "torch")[:2] == ["storage.planted.planted", "training.jobs.train"]


@pytest.mark.parametrize(
    ("room", "outside"),
    [
        ("flows", "torch"),
        ("pipelines", "torch"),
        ("storage", "torch"),
        ("pipelines", "prefect"),
        ("training", "prefect"),
        ("storage", "prefect"),
    ],
)
def test_no_package_on_the_way_imports_it(room: str, outside: str) -> None:
    """`import a.b.c` runs `a` and `a.b`, which import-linter leaves out."""
    assert not way(ROOT, room, outside)


def test_torch_in_a_package_on_the_way_is_found(tree: Path) -> None:
    plant(tree, "training/__init__.py", "import torch\n")
    assert check(tree, "lint-imports", "--no-cache").returncode == 0
    assert way(tree, "flows", "torch")[-2:] == ["training", "torch"]
