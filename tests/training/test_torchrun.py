"""Torchrun under our name ends as its worker ends."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("worker", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(3)", 3),
        ("import os\nos.kill(os.getpid(), 9)", 137),
        ("import os\nos.kill(os.getpid(), 15)", 143),
    ],
)
def test_exit_code(tmp_path: Path, worker: str, code: int) -> None:
    script = tmp_path / "worker.py"
    script.write_text(worker)
    words = [sys.executable, "-m", "training.torchrun", "--standalone", str(script)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
