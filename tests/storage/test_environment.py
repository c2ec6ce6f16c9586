"""The table of environment variables: what it reads and refuses, and that there is no other."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import environment
from storage.environment import VARIABLES, Variable
from storage.errors import ConfigError, MachineError
from tests.import_graph import ROOMS

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"STEMWORKS_[A-Z0-9_]+")
OF_TESTS = {"STEMWORKS_REAL_DATA", "STEMWORKS_TEST_NAMESPACE"}
"""Variables that tests alone read."""
NAMES = {one.name for one in VARIABLES}


def strings(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield every string of a module, parts of f-strings included, and whether it documents."""
    tree = ast.parse(path.read_text())
    documenting = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, id(node) in documenting


def test_no_other_module_spells_a_variable() -> None:
    """Code names it through the table; documentation may name what the table has."""
    spelled = {
        (path.relative_to(ROOT).as_posix(), name)
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for text, documents in strings(path)
        for name in NAME.findall(text)
        if not (documents and name in NAMES)
    }
    assert {path for path, _ in spelled} == {"storage/environment.py"}
    assert {name for _, name in spelled} == NAMES


def test_files_and_pages_name_no_variable_that_is_not_in_the_table() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "docker", "docs", "*.md", "Makefile", "prefect.yaml"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    texts = {name: (ROOT / name).read_text(errors="replace") for name in listed}
    found = {name: set(NAME.findall(text)) - NAMES - OF_TESTS for name, text in texts.items()}
    assert not {name: unknown for name, unknown in found.items() if unknown}


def test_every_variable_is_in_the_table_once_and_says_what_holds_without_it() -> None:
    made = [one for one in vars(environment).values() if isinstance(one, Variable)]
    assert {one.name for one in (*made, *environment.OF_CONTAINERS)} == NAMES
    assert len(NAMES) == len(VARIABLES)
    for one in VARIABLES:
        assert one.meaning.endswith("."), one.name
        assert one.readers, one.name
        assert bool(one.default) != bool(one.otherwise), one.name


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda one: one.name)
def test_without_a_text_its_default_holds(
    variable: Variable[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable.name, raising=False)
    default = variable.read()
    assert variable.given is None
    monkeypatch.setenv(variable.name, "")
    assert variable.read() == default
    assert variable.given == ""


def test_values_are_of_their_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", f"{tmp_path}/a/../b")
    monkeypatch.setenv("STEMWORKS_SERVER_PORT", "4321")
    monkeypatch.setenv("STEMWORKS_LAUNCHER", "srun --label='of job'")
    assert environment.STATE.read() == tmp_path / "b"
    assert environment.SERVER_PORT.read() == 4321
    assert environment.LAUNCHER.read() == ["srun", "--label=of job"]


def test_what_is_not_allowed_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWORKS_SERVER_PORT", "65536")
    with pytest.raises(MachineError, match="STEMWORKS_SERVER_PORT is '65536'; give a port"):
        environment.SERVER_PORT.read()
    monkeypatch.setenv("STEMWORKS_S3_CHECKSUMS", "always")
    with pytest.raises(ConfigError, match="is 'always'; give one of when_required, when_supported"):
        environment.S3_CHECKSUMS.read()
