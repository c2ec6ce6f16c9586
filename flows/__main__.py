"""The command line: which flow, which recipe, what differs.

Exit codes: 0 done; 1 unforeseen; 2 a setting; 3 a recording or archive; 4 a run; 5 the machine;
130 and 143 stopped by Ctrl-C or SIGTERM, resumably.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from flows.cli.operate import operating
from flows.cli.options import AsJson, Flow, HomeAt, MusicFrom, Recipe, Settings
from flows.cli.origins import origins
from flows.cli.watch import watching
from storage.errors import StemworksError
from storage.home.layout import Home

if TYPE_CHECKING:
    from flows.cli.views import View

app = typer.Typer(
    help="Raw music archives in, trained and scored music source separators out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(origins)
app.add_typer(operating)
app.add_typer(watching)
console = Console()

SongFormat = Literal["wav", "wav24", "flac"]


@app.command()
def run(  # noqa: PLR0913, PLR0917  each option is an argument, as Typer asks
    flow: Flow,
    recipe: Recipe,
    settings: Settings = None,
    source: MusicFrom = "",
    home: HomeAt = "home",
    force: Annotated[
        list[str] | None, typer.Option(help="Redo this stage, once. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a flow. What is done stays done; what is missing or failed runs."""
    from flows.cli import run  # noqa: PLC0415
    from flows.studies.request import RunRequest  # noqa: PLC0415

    order = RunRequest(flow, recipe, _settings(settings, source), home)
    run.run(order, force or [], _view(as_json))


@app.command()
def plan(
    flow: Flow,
    recipe: Recipe,
    settings: Settings = None,
    source: MusicFrom = "",
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Say what a run would do, and what it would cost. Does nothing."""
    from flows.cli import views  # noqa: PLC0415
    from flows.studies.request import RunRequest  # noqa: PLC0415

    order = RunRequest(flow, recipe, _settings(settings, source), home)
    views.show_plan(order.config, Home.open(home), order.look(), _view(as_json))


@app.command()
def status(home: HomeAt = "home", as_json: AsJson = False) -> None:
    """Say how far each study of a home is, and which runs of this machine were lost."""
    from flows.cli import recover, views  # noqa: PLC0415

    recover.tell_of_lost_runs(start=False)
    views.show_status(Home.open(home), _view(as_json))


@app.command()
def census(
    home: HomeAt = "home",
    study: Annotated[str, typer.Option(help="Its name, where a home holds several.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what became of every track of an archive."""
    from flows.cli import views  # noqa: PLC0415

    views.show_census(Home.open(home), study, _view(as_json))


@app.command()
def retry(
    reason: Annotated[str, typer.Option(help="Quarantine reason, such as decode_error.")],
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Let the next run pack again what is quarantined for a reason."""
    from flows.cli import views  # noqa: PLC0415

    views.retry(Home.open(home), reason, _view(as_json))


@app.command()
def verify(
    home: HomeAt = "home",
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every output of every finished stage. Exit code 3 if any is gone or altered."""
    from flows.cli import views  # noqa: PLC0415

    views.verify(Home.open(home), deep, _view(as_json))


@app.command(name="janitor")
def clean(
    home: HomeAt = "home",
    agreed: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what nothing in a home refers to, after asking. With --json: only with --yes."""
    from flows.cli import views  # noqa: PLC0415

    views.tidy(Home.open(home), agreed, _view(as_json))


@app.command()
def report(
    run_directory: Annotated[Path, typer.Argument(help="A run directory of an evaluation.")],
    as_json: AsJson = False,
) -> None:
    """Print the scores of an evaluation."""
    from flows.cli import views  # noqa: PLC0415

    views.show_scores(run_directory, _view(as_json))


@app.command()
def recipes() -> None:
    """List the recipes, and each study's flows."""
    from flows.studies.table import STUDIES  # noqa: PLC0415

    for study in STUDIES:
        for name, function in study.recipes.items():
            console.print(f"[bold]{name:<14}[/] {function.__doc__}")
    for study in STUDIES:
        console.print(f"\nFlows of study {study.name}, for its recipes {', '.join(study.recipes)}:")
        for part, description in study.parts.items():
            console.print(f"[bold]{part:<14}[/] {description}")


@app.command()
def separate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT SONG... OUT",
            help="Folder with model.json, or a run's; songs in any format; folder to write to.",
        ),
    ],
    written: Annotated[
        SongFormat, typer.Option("--format", help="32-bit float WAV; or 24-bit WAV or FLAC.")
    ] = "wav",
    sum_to_mixture: Annotated[
        bool, typer.Option("--sum-to-mixture", help="Let the stems add up to the song.")
    ] = False,
    shifts: Annotated[
        int, typer.Option(min=1, help="Framings to average; N take N times as long.")
    ] = 1,
    swap_channels: Annotated[
        bool, typer.Option("--swap-channels", help="Average with left and right exchanged.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Draw a spectrogram of every stem.")
    ] = False,
) -> None:
    """Separate songs into stems, one folder per song under OUT, at each song's own rate."""
    from flows.cli import run  # noqa: PLC0415

    flags = {
        "--sum-to-mixture": sum_to_mixture,
        "--swap-channels": swap_channels,
        "--pictures": pictures,
    }
    options = [f"--format={written}", f"--shifts={shifts}", *(f for f in flags if flags[f])]
    run.separate(paths, options)


@app.command()
def ui() -> None:
    """Start the Prefect server if none runs, and print the address of its UI."""
    from flows.cli.recover import tell_of_lost_runs  # noqa: PLC0415
    from flows.server.server import connect  # noqa: PLC0415

    console.print(f"The UI is at {connect()}", soft_wrap=True)
    tell_of_lost_runs()


@app.command()
def down() -> None:
    """Stop the Prefect server that stemworks started."""
    from flows.server.server import stop  # noqa: PLC0415
    from flows.server.settings import ServerSettings  # noqa: PLC0415

    console.print(
        "Stopped." if stop(ServerSettings.from_environment()) else "No server was running."
    )


@app.command()
def doctor(
    home: HomeAt = "home",
    fit: Annotated[
        str, typer.Option(help="Measure the batch that fits: small, medium, large or a recipe.")
    ] = "",
    memory_gb: Annotated[float, typer.Option(help="With --fit: on the CPU, in so much.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Check this machine: programs, versions, disk, port, server, GPU; or measure what fits."""
    if fit:
        from flows.cli import fit as fitting  # noqa: PLC0415

        fitting.fit(fit, memory_gb, _view(as_json))
        return
    from flows.cli.examine import examine  # noqa: PLC0415

    examine(Home.open(home), _view(as_json))


def _settings(given: list[str] | None, source: str) -> list[str]:
    return [*(given or []), *([f"fma.source={source}"] if source else [])]


def _view(as_json: bool) -> "View":
    from flows.cli.views import View  # noqa: PLC0415

    return View(console, as_json)


def main() -> None:
    """Run the command line; every foreseen error is one sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    # A script that starts this in the background has it ignore Ctrl-C, and every child with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; return its exit code, having said what went wrong."""
    import click  # noqa: PLC0415

    try:
        code = command()
    except StemworksError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _complain("stopped; the same command again goes on from here")
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return code if isinstance(code, int) else 0


def _complain(what: str) -> None:
    print(f"error: {what}", file=sys.stderr)  # noqa: T201  the command line's own voice


def _terminated(_number: int, _frame: Any) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    main()
