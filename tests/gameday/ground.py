"""What all scenes of a game day share: a Prefect server, and a study that nobody disturbed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from flows.studies.request import RunRequest
from storage.files import hash_file
from storage.home.open import open_home
from tests.flows.conftest import Works
from tests.gameday.digests import digests
from tests.services import free_port

ROOT = Path(__file__).parents[2]
LONGER = {
    "smoke": (
        "finetuning.loop.steps=24",
        "finetuning.loop.validate_every=12",
        "finetuning.loop.checkpoint_every=4",
        "finetuning.loop.log_every=1",
    ),
}
"""Settings that make a recipe's fine-tuning last long enough to be struck in the middle."""
LIVE = ("checkpoints", "tensorboard", "snapshots", "locks")
"""Folders that no finished stage needs: left behind where a home moves."""


class Ground:
    """A server on SQLite, and the home in which the study was done without disturbance."""

    def __init__(self, root: Path, recipe: str) -> None:
        self.root, self.recipe = root, recipe
        self.settings = LONGER.get(recipe, ())
        self.works = Works(root / "state", free_port(), root)
        self.undisturbed = root / "undisturbed"

    @property
    def environment(self) -> dict[str, str]:
        """What every command gets: this server, whichever one the caller uses."""
        given = self.works.environment.items()
        return {name: value for name, value in given if not name.startswith("PREFECT_")}

    @property
    def study(self) -> str:
        """What the study is called in its home."""
        return self.order(self.undisturbed).config.name

    def words(self, *which: str) -> list[str]:
        """Return recipe and settings as the command line takes them."""
        overrides = [word for setting in self.settings for word in ("--set", setting)]
        return [*which, "--recipe", self.recipe, *overrides]

    def order(self, home: Path | str) -> RunRequest:
        """Return the study, to be looked at in a home."""
        return RunRequest("study", self.recipe, list(self.settings), str(home))

    def command(self, *arguments: str) -> str:
        """Run one command to its end; return what it printed."""
        answer = subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            env=self.environment, capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        if answer.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    @cached_property
    def reference(self) -> dict[str, str]:
        """Digests of the undisturbed study."""
        return digests(str(self.undisturbed))

    def prepare(self) -> None:
        """Start the server and run the study where nobody disturbs it, unless that is done."""
        self.command("ui")
        self.command(*self.words("run", "study"), "--home", str(self.undisturbed))

    def copy_to(self, home: Path) -> None:
        """Copy the undisturbed home, as a move to another disk does."""
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.undisturbed, home)

    def send_to(self, url: str) -> None:
        """Copy the undisturbed home into a bucket, as a move there does."""
        store = open_home(url).store
        for path in sorted(self.undisturbed.rglob("*")):
            name = path.relative_to(self.undisturbed)
            if path.is_file() and not set(LIVE) & set(name.parts):
                store.put(name.as_posix(), path, hash_file(path))


@contextmanager
def ground(root: Path, recipe: str) -> Iterator[Ground]:
    """Run the server, and stop it at the end."""
    root.mkdir(parents=True, exist_ok=True)
    # Working copies of homes in buckets are seen, and thrown away, with all else.
    os.environ["STEMWORKS_SCRATCH"] = str(root / "scratch")
    one = Ground(root, recipe)
    try:
        one.prepare()
        yield one
    finally:
        one.command("down")
