"""A copy of the source tree to which a test adds what CONTRIBUTING says, and nothing else."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "pipelines", "training", "storage")
LIMIT_SECONDS = 300


@dataclass(frozen=True)
class Tree:
    """Where the copy is."""

    root: Path

    @classmethod
    def of(cls, folder: Path) -> "Tree":
        """Copy the four packages into a folder, with what Python made of them."""
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package)
        return cls(folder)

    def add(self, path: str, text: str) -> None:
        """Add a file."""
        target = self.root / path
        assert not target.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def insert(self, path: str, line: str, before: str) -> None:
        """Insert a line into a file, before the one line that begins so."""
        target = self.root / path
        lines = target.read_text().splitlines(keepends=True)
        places = [number for number, text in enumerate(lines) if text.startswith(before)]
        assert len(places) == 1, f"{path}: {len(places)} lines begin with {before!r}"
        lines.insert(places[0], f"{line}\n")
        target.write_text("".join(lines))

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once."""
        target = self.root / path
        text = target.read_text()
        assert text.count(old) == 1, f"{path}: {old!r} stands there {text.count(old)} times"
        target.write_text(text.replace(old, new))

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Python takes the copy and not the tree it was made of."""
        return {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}

    def run(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m ...` in the copy to its end; it must succeed."""
        return self._python("-m", *words, **variables)

    def run_text(self, text: str) -> None:
        """Run a program in the copy to its end; it must succeed."""
        self._python("-c", text)

    def _python(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done
