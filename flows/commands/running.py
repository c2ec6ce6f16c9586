"""What the command line does: run a flow, force a stage, deploy a study, separate songs."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from flows.commands.views import View, show_outcome
from flows.config import StudyConfig
from flows.line import Outlook, Prospect
from flows.operations.server import connect, have
from flows.recipes import named
from flows.stages import forget
from flows.study import Part, claim, follow
from storage.errors import ConfigError, DataError, MachineError, RunError
from storage.files import disk_errors, require_space
from storage.layout import Home

SPACE = 200_000_000
"""Bytes free below which no run is begun."""


@dataclass(frozen=True)
class Order:
    """Which flow, which recipe, what differs, and where."""

    flow: str
    recipe: str
    settings: list[str]
    home: str

    def __post_init__(self) -> None:
        if self.flow not in get_args(Part):
            known = ", ".join(get_args(Part))
            raise ConfigError(f"unknown flow '{self.flow}'; the flows are {known}")

    @property
    def part(self) -> Part:
        """The flow, as one of those there are."""
        return cast("Part", self.flow)

    @property
    def config(self) -> StudyConfig:
        """The study's configuration.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        config = named(self.recipe).override(self.settings)
        # Kept in the home, and read again from wherever the next command is given.
        root = Path(config.data.root).expanduser().resolve()
        data = config.data.model_copy(update={"root": str(root)})
        return config.model_copy(update={"data": data})

    def look(self) -> list[Outlook]:
        """Look every stage up, in order; nothing is done."""
        home = Home.open(self.home)
        prospect = Prospect(home)
        follow(prospect, self.config, home, self.part)
        return prospect.outlooks


def run(order: Order, force: list[str], view: View) -> None:
    """Run a flow under Prefect and say what came of it."""
    config, home = order.config, Home.open(order.home)
    check_machine(home, config)
    # A missing archive, a name taken or a stage that is none is said before anything starts.
    outlooks = order.look()
    for outlook in outlooks:
        if outlook.lacks:
            raise DataError(outlook.lacks)
    claim(home, config, order.part)
    for label in force:
        _force(home, outlooks, label)
    connect()
    # Prefect reads its settings when it is imported.
    from prefect import tags  # noqa: PLC0415

    from flows.flow import stemworks  # noqa: PLC0415

    with tags(order.recipe):
        outcome = stemworks(config, home.url, order.part)
    show_outcome(outcome, view)


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
    if config.evaluation.museval and missing:
        raise MachineError(
            f"museval needs {' and '.join(missing)} on the PATH; install ffmpeg ('apt-get install "
            "ffmpeg'), or leave evaluation.museval off"
        )


def serve(order: Order, cron: str, view: View) -> None:
    """Deploy a study and stay, running what is scheduled, started or retried in the UI."""
    config, home = order.config, Home.open(order.home)
    check_machine(home, config)
    address = connect()
    from flows.operations import serving  # noqa: PLC0415  Prefect reads its settings on import

    view.show({}, f"Serving study '{config.name}' at {address}/deployments. Ctrl-C ends it.")
    serving.serve(config, home, order.recipe, cron)


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


def _force(home: Home, outlooks: list[Outlook], label: str) -> None:
    labels = [outlook.label for outlook in outlooks]
    if label not in labels:
        raise ConfigError(f"unknown stage '{label}'; the stages are {', '.join(labels)}")
    outlook = outlooks[labels.index(label)]
    if outlook.stage and outlook.work:
        forget(home, outlook.stage, outlook.work)
    for unit in outlook.units:
        if unit.work:
            home.remove(home.mark(unit.work.stage, unit.work.key))
