"""`run` and `separate`: run a flow, or separate songs with a trained model."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console

from flows.cli.options import AsJson, Flow, HomeAt, MusicFrom, Recipe, Settings, all_settings
from flows.cli.output import View, stdout_view
from flows.cli.recover import report_crashes
from flows.cli.views import show_outcome
from flows.config import StudyConfig
from flows.server.server import connect, have
from flows.stages.stage import forget
from flows.studies.claims import claim
from flows.studies.disk_space import needs, shortage
from flows.studies.request import RunRequest
from flows.studies.runner import StageStatus
from storage.config import Json
from storage.errors import ConfigError, DataError, MachineError, RunError, StoppedError, hint
from storage.files import disk_errors, require_space
from storage.home.layout import Home
from storage.home.open import open_home
from storage.names.spelling import printable
from training.config import EvaluateConfig
from training.model_folder import find_model

app = typer.Typer()
SPACE = 200_000_000
"""Free bytes below which no run starts."""

SongFormat = Literal["wav", "wav24", "flac"]


@app.command()
def run(  # noqa: PLR0913, PLR0917  each option is an argument, as Typer asks
    flow: Flow,
    recipe: Recipe,
    settings: Settings = None,
    source: MusicFrom = "",
    home: HomeAt = "home",
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Redo this stage, once: pretrain. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a flow; what is done already is skipped."""
    request = RunRequest(flow, recipe, all_settings(settings, source), home)
    run_flow(request, force or [], stdout_view(as_json))


def run_flow(request: RunRequest, force: list[str], view: View) -> None:
    """Run a flow under Prefect and show its result.

    Raises:
        ConfigError: a setting, the flow or a stage to force is refused.
        DataError: an archive is missing.
        MachineError: this machine lacks what the study needs.
        StoppedError: the run was cancelled.
    """
    config, home = request.config, open_home(request.home)
    check_machine(home, config)
    # A missing archive, a taken name or an unknown stage is an error before anything starts.
    statuses = request.look()
    for status in statuses:
        if status.lacks:
            raise DataError(status.lacks)
    require_room(home, config, statuses)
    claim(home, config, request.flow)
    for label in force:
        _force(home, statuses, label)
    connect()
    # Prefect reads its settings when it is imported.
    from prefect import tags
    from prefect.exceptions import CancelledRun

    from flows.deploy.deployments import tags_of
    from flows.engine.flow import stemworks

    report_crashes()
    try:
        with tags(*tags_of(request)):
            outcome = stemworks(**request.parameters(home.url, request.overrides))
    except CancelledRun as error:
        raise StoppedError("the run was cancelled; run the same command again to resume") from error
    show_outcome(cast("Json", outcome), view)


def check_machine(home: Home, config: StudyConfig) -> None:
    """Raise `MachineError` if the machine lacks what this study needs."""
    with disk_errors(home.root):
        home.root.mkdir(parents=True, exist_ok=True)
    # In a bucket, this shows that it exists and may be written to.
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


def require_room(home: Home, config: StudyConfig, statuses: list[StageStatus]) -> None:
    """Raise `MachineError` if the run would write more than is free, or say so and go on.

    `limits.short_of_disk` decides which.
    """
    if not (lacking := shortage(needs(home, statuses))):
        return
    if config.limits.short_of_disk == "refuse":
        raise MachineError(lacking)
    Console(stderr=True).print(f"warning: {lacking}", highlight=False, soft_wrap=True, markup=False)


def _force(home: Home, statuses: list[StageStatus], label: str) -> None:
    labels = [status.label for status in statuses]
    if label not in labels:
        known = hint(label, labels, "the stages are")
        raise ConfigError(f"unknown stage '{label}'; {known}")
    status = statuses[labels.index(label)]
    if status.stage and status.work:
        forget(home, status.stage, status.work)
    for unit in status.units:
        if unit.work:
            home.remove(home.mark(unit.work.stage, unit.work.key))


@app.command()
def separate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL SONG... OUT",
            help="Folder with model.json, or a run's; songs in any format; folder to write to.",
        ),
    ],
    written: Annotated[
        SongFormat, typer.Option("--format", help="32-bit float WAV, 24-bit WAV, or 24-bit FLAC.")
    ] = "wav",
    sum_to_mixture: Annotated[
        bool, typer.Option("--sum-to-mixture", help="Make the stems add up to the song.")
    ] = False,
    shifts: Annotated[
        int, typer.Option(min=1, metavar="N", help="Time shifts to average; take N times as long.")
    ] = 1,
    swap_channels: Annotated[
        bool, typer.Option("--swap-channels", help="Average with left and right exchanged.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Draw a spectrogram of every stem.")
    ] = False,
) -> None:
    """Separate songs into stems. Each gets a folder under OUT, at its own sample rate."""
    flags = {
        "--sum-to-mixture": sum_to_mixture,
        "--swap-channels": swap_channels,
        "--pictures": pictures,
    }
    options = [f"--format={written}", f"--shifts={shifts}", *(f for f in flags if flags[f])]
    separate_songs(paths, options)


def separate_songs(paths: list[Path], options: list[str]) -> None:
    """Separate songs in a child process, whose output and exit code are this command's.

    `paths` are a checkpoint, songs and the folder to write to; `options` go to the child.

    Raises:
        ConfigError: no song is given, or one does not exist.
        RunError: the checkpoint holds no model.
    """
    checkpoint, *songs, out = paths if len(paths) > 1 else [*paths, *paths]
    if not songs:
        raise ConfigError(
            "give MODEL SONG... OUT: a model, one or more songs, and the folder to write to"
        )
    missing = [printable(song) for song in songs if not song.is_file()]
    if missing:
        raise ConfigError(f"no such song: {', '.join(missing)}; give files")
    command = [sys.executable, "-m", "training", "separate", *options, "--"]
    arguments = map(str, (_model_in(checkpoint), out, *songs))
    code = subprocess.call([*command, *arguments], env=os.environ)
    if code:
        raise SystemExit(code)


def _model_in(checkpoint: Path) -> Path:
    if folder := find_model(checkpoint):
        return folder
    raise RunError(
        f"{printable(checkpoint)} holds no model.json; give a run directory, or the model folder "
        "in it"
    )
