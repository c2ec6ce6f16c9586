"""What the command line does: run a flow, force a stage, separate songs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

from flows.cli.recover import tell_of_lost_runs
from flows.cli.views import View, show_outcome
from flows.config import StudyConfig
from flows.server.server import connect, have
from flows.stages.stage import forget
from flows.studies.claims import claim
from flows.studies.request import RunRequest
from flows.studies.runner import StageStatus
from storage.config import Json
from storage.errors import ConfigError, DataError, MachineError, RunError, StoppedError
from storage.files import disk_errors, require_space
from storage.home.layout import Home
from training.config import EvaluateConfig

SPACE = 200_000_000
"""Bytes free below which no run is begun."""


def run(order: RunRequest, force: list[str], view: View) -> None:
    """Run a flow under Prefect and say what came of it."""
    config, home = order.config, Home.open(order.home)
    check_machine(home, config)
    # A missing archive, a name taken or a stage that is none is said before anything starts.
    outlooks = order.look()
    for outlook in outlooks:
        if outlook.lacks:
            raise DataError(outlook.lacks)
    claim(home, config, order.flow)
    for label in force:
        _force(home, outlooks, label)
    connect()
    # Prefect reads its settings when it is imported.
    from prefect import tags  # noqa: PLC0415
    from prefect.exceptions import CancelledRun  # noqa: PLC0415

    from flows.deploy.deployments import tags_of  # noqa: PLC0415
    from flows.engine.flow import stemworks  # noqa: PLC0415

    tell_of_lost_runs()
    try:
        with tags(*tags_of(order)):
            outcome = stemworks(order.recipe, order.overrides, home.url, order.flow)
    except CancelledRun as error:
        raise StoppedError("the run was cancelled; the same command goes on from here") from error
    show_outcome(cast("Json", outcome), view)


def check_machine(home: Home, config: StudyConfig) -> None:
    """Raise `MachineError` if the machine lacks what this study needs."""
    with disk_errors(home.root):
        home.root.mkdir(parents=True, exist_ok=True)
    # The same in a bucket: whether it is there, and may be written to.
    probe = home.root / ".writable"
    home.write(probe, b"")
    home.remove(probe)
    require_space(home.root, SPACE, "a study")
    missing = [name for name in ("ffmpeg", "ffprobe") if not have(name)]
    if missing and any(one.museval for one in config.parts_of(EvaluateConfig).values()):
        raise MachineError(
            f"museval needs {' and '.join(missing)} on the PATH; install ffmpeg ('apt-get install "
            "ffmpeg'), or leave evaluation.museval off"
        )


def separate(paths: list[Path], options: list[str]) -> None:
    """Separate songs in a child process, whose words and exit code become ours.

    `paths` are a checkpoint, songs and the folder to write to; `options` go to the child.
    """
    checkpoint, *songs, out = paths if len(paths) > 1 else [*paths, *paths]
    if not songs:
        raise ConfigError(
            "give a checkpoint, one song or more, and then the folder to write to, in this order"
        )
    missing = [str(song) for song in songs if not song.is_file()]
    if missing:
        raise ConfigError(f"no such song: {', '.join(missing)}")
    model = next(
        (
            folder
            for folder in (checkpoint, checkpoint / "model", checkpoint / "result" / "model")
            if (folder / "model.json").is_file()
        ),
        None,
    )
    if model is None:
        raise RunError(f"{checkpoint} holds no model.json; give a run's directory, or its model's")
    command = [sys.executable, "-m", "training", "separate", *options, "--", str(model), str(out)]
    code = subprocess.call([*command, *map(str, songs)], env=os.environ)
    if code:
        raise SystemExit(code)


def _force(home: Home, outlooks: list[StageStatus], label: str) -> None:
    labels = [outlook.label for outlook in outlooks]
    if label not in labels:
        raise ConfigError(f"unknown stage '{label}'; the stages are {', '.join(labels)}")
    outlook = outlooks[labels.index(label)]
    if outlook.stage and outlook.work:
        forget(home, outlook.stage, outlook.work)
    for unit in outlook.units:
        if unit.work:
            home.remove(home.mark(unit.work.stage, unit.work.key))
