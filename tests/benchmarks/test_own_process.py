"""A step's peak memory is its own: neither its parent's, nor without its children's."""

import mmap
import subprocess
import sys

import pytest

from storage.config import Json
from tests.benchmarks.own_process import alone

MEGABYTE = 1_000_000
STEP, PARENT = 150 * MEGABYTE, 600 * MEGABYTE
ROOM = 100 * MEGABYTE
"""For the interpreter, pytest and the records."""
HERE = "tests.benchmarks.test_own_process"
PARENT_TEXT = f"""
import sys
held = bytearray(b"x") * {PARENT}
from tests.benchmarks.own_process import alone
sys.stdout.write(str(alone("{HERE}:holding", "{STEP}").peak_bytes))
"""


def holding(size: str) -> Json:
    """Hold so many bytes, each page written, and let go of them."""
    held = mmap.mmap(-1, int(size))
    for place in range(0, len(held), mmap.PAGESIZE):
        held[place] = 1
    held.close()
    return {"size": int(size)}


def with_a_child(size: str) -> Json:
    """Let a child hold them."""
    done = alone(f"{HERE}:holding", size)
    return {"of_child": done.peak_bytes}


def failing() -> Json:
    """Fail."""
    raise ValueError("no such step")


def test_the_peak_is_the_steps_own() -> None:
    none, some = alone(f"{HERE}:holding", "4096"), alone(f"{HERE}:holding", str(STEP))
    assert some.answer == {"size": STEP}
    assert some.peak_bytes - none.peak_bytes == pytest.approx(STEP, abs=0.1 * STEP)


def test_what_the_parent_holds_is_not_the_steps() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT_TEXT], capture_output=True, text=True, check=True
    )
    assert STEP < int(done.stdout) < STEP + ROOM < PARENT


def test_what_a_child_of_the_step_holds_is_the_steps() -> None:
    done = alone(f"{HERE}:with_a_child", str(STEP))
    assert STEP < done.peak_bytes < STEP + ROOM
    assert done.peak_bytes >= done.answer["of_child"]


def test_a_step_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)test_own_process:failing.*no such step"):
        alone(f"{HERE}:failing")
