"""Commands of whoever watches the works: numbers for Prometheus, a word on what a run may cost."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import HomeAt
from storage.home.open import open_home

watching = typer.Typer()


@watching.command()
def metrics(
    home: HomeAt = "home",
    textfile: Annotated[
        Path | None, typer.Option(help="Write them here, whole at once, instead of printing.")
    ] = None,
) -> None:
    """Print a home's numbers as Prometheus reads them: work done, rates, errors, GPU-hours."""
    from flows.cli import views  # noqa: PLC0415
    from flows.ui.metrics import Numbers, write  # noqa: PLC0415

    place = open_home(home)
    states = {
        (study, outlook.label): outlook.state
        for study, outlooks in views.outlooks_of(place).items()
        for outlook in outlooks
    }
    text = Numbers(place).exposition(states)
    if textfile:
        write(textfile, text)
    else:
        typer.echo(text, nl=False)


@watching.command()
def approve(
    run: Annotated[str, typer.Argument(help="Its name or id, as the UI shows it.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="End the run instead.")] = False,
    reason: Annotated[str, typer.Option(help="Told in the run's log.")] = "",
) -> None:
    """Let a run that asks for it spend what its plan says on GPUs."""
    from flows.server.server import connect  # noqa: PLC0415

    connect()
    from flows.cli import approve  # noqa: PLC0415  Prefect reads its settings on import

    name = approve.answer(run, approved=not refuse, reason=reason)
    typer.echo(f"{name} is {'refused and ends' if refuse else 'approved and goes on'}.")
