"""Where a scene is held: a copy of the undisturbed home on a disk, or in a bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bucket import bucket
from tests.gameday.ground import Ground
from tests.gameday.scene import Scene, Trial

JUDGED = ("finetune", "evaluate finetune")
"""Stages undone in the copy of a home, where nothing else is said."""


@contextmanager
def held(scene: Scene) -> Iterator[Scene]:
    """Judge what is left of a scene, and end all that it started."""
    try:
        yield scene
        scene.judge()
    finally:
        scene.close()


@contextmanager
def at_home(
    ground: Ground, trial: Trial, undone: tuple[str, ...] = JUDGED, home: Path | None = None
) -> Iterator[Scene]:
    """Hold a scene in a copy of the undisturbed home, of which some stages are yet to do."""
    home = home or ground.root / trial.fault.replace(" ", "-")
    ground.copy_to(home)
    scene = Scene(ground, trial, str(home))
    scene.undo(*undone)
    with held(scene):
        yield scene


@contextmanager
def in_bucket(
    ground: Ground, trial: Trial, endpoint: str, undone: tuple[str, ...] = JUDGED
) -> Iterator[Scene]:
    """Hold a scene in a copy of the undisturbed home that lies in a bucket."""
    with bucket(endpoint) as url:
        ground.send_to(url)
        scene = Scene(ground, trial, url)
        scene.undo(*undone)
        with held(scene):
            yield scene
