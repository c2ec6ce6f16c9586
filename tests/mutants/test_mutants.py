"""The tool itself, on a small module: faults are told apart by what tests make of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import harmless
from tests.mutants.plant import mutants, planted
from tests.mutants.targets import SAMPLE, TARGETS

ROOT = Path(__file__).parents[2]
SOURCE = '''
LIMIT = 7


def chosen(a: int, b: int = 200) -> bool:
    """Text, 1 of it."""
    assert a < 5
    if a:
        raise ValueError(f"{a + 1} is wrong")
    return not (a < b and max(a, 1) == b // 2)
'''


def run(*options: str) -> tuple[int, list[str]]:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--module", "sample", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not answer.stderr
    return answer.returncode, answer.stdout.splitlines()


def test_faults_are_caught_survive_or_never_end() -> None:
    before = SAMPLE.source
    code, lines = run("--named", "number += 1: 1 =>", "--least-seconds", "1")
    assert code == 0
    (row,) = (line for line in lines if line.startswith("│ all"))
    # Two were planted and two caught, one of them for want of an end.
    assert row.split("│")[2:7] == [f" {number:<{width}} " for number, width in
                                   ((2, 7), (2, 6), (1, 15), (0, 8), (0, 8))]  # fmt: skip
    code, lines = run("--named", "value + value: + => -")
    assert code == 1
    assert f"SURVIVED {SAMPLE.module}: unguarded: return value + value: + => -" in lines
    assert SAMPLE.source == before


def test_every_kind_of_fault_is_planted_and_named() -> None:
    names = {one.name: one.function for one in mutants(SOURCE)}
    assert names == {
        "module: LIMIT = 7: 7 => 8": None,
        "module: LIMIT = 7: 7 => 6": None,
        "chosen: 200: 200 => 400": "chosen",
        "chosen: a: if => if not": "chosen",
        **dict.fromkeys(
            (f"chosen: return not (a < b and max(a, 1) == b // 2): {change}" for change in (
                "return => return not", "not => (nothing)", "and => or", "< => <=", "< => >=",
                "== => !=", "max => min", "1 => 2", "1 => 0", "// => *", "2 => 3", "2 => 1",
            )), "chosen",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", [one.name for one in mutants(SOURCE)])
def test_a_mutant_differs_from_the_module_in_one_place(name: str) -> None:
    sound, faulty = ast.unparse(ast.parse(SOURCE)), ast.unparse(planted(SOURCE, name))
    changed = [
        (old, new)
        for old, new in zip(sound.splitlines(), faulty.splitlines(), strict=True)
        if old != new
    ]
    assert len(changed) == 1


def test_what_is_examined_and_excused_is_there() -> None:
    modules = {target.module for target in TARGETS.values()}
    assert set(harmless.HARMLESS) <= modules
    for target in TARGETS.values():
        assert target.path.is_file()
        assert all((ROOT / name.partition("::")[0]).is_file() for name in target.tests)
        assert not harmless.reasons(target.module).keys() - {one.name for one in target.mutants()}
