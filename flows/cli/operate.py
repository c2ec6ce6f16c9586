"""Commands that keep the works running: deploy flows, and work for the pools they wait in."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from flows.cli.options import (
    AsJson,
    CronAt,
    Every,
    Flows,
    HomeAt,
    Recipe,
    Settings,
    Timezone,
)

if TYPE_CHECKING:
    from flows.cli.views import View

operating = typer.Typer()

PoolKind = Literal["process", "docker", "kubernetes"]
DatabaseName = Literal["postgresql", "sqlite"]


@operating.command()
def init(
    resumes: Annotated[
        int, typer.Option(min=0, help="A lost run of a deployment begins again so many times.")
    ] = 2,
    database: Annotated[
        DatabaseName | None, typer.Option(help="The server's, where it is another's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put limits and automations on the Prefect server. Again, it changes nothing."""
    from flows.cli import recover  # noqa: PLC0415

    recover.initialise(resumes, database, _view(as_json))


@operating.command()
def cancel(
    run: Annotated[str, typer.Argument(help="Its name or id; none: the only one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Cancel a run: its jobs write checkpoints, and it goes on from there when run again."""
    from flows.cli import recover  # noqa: PLC0415

    recover.cancel(run, _view(as_json))


@operating.command()
def serve(  # noqa: PLR0913, PLR0917  each option is an argument, as Typer asks
    recipe: Recipe,
    flows: Flows = None,
    settings: Settings = None,
    home: HomeAt = "home",
    cron: CronAt = "",
    every: Every = "",
    timezone: Timezone = "UTC",
) -> None:
    """Deploy flows and run them here: from the UI, and by schedule. Stays until Ctrl-C."""
    from flows.cli import deploy  # noqa: PLC0415

    wish = deploy.DeploySpec.of(
        (recipe, settings or [], home), flows or [], (cron, every, timezone)
    )
    deploy.serve(wish, _view(as_json=False))


@operating.command()
def deploy(  # noqa: PLR0913, PLR0917
    recipe: Recipe,
    flows: Flows = None,
    settings: Settings = None,
    home: HomeAt = "home",
    pool: Annotated[str, typer.Option(help="Work pool; made if there is none.")] = "stemworks",
    kind: Annotated[PoolKind, typer.Option("--type", help="Of the pool.")] = "process",
    jobs: Annotated[
        list[str] | None, typer.Option("--job", help="Job variable: gpu_count=4. Repeatable.")
    ] = None,
    cron: CronAt = "",
    every: Every = "",
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Deploy flows to a work pool, whose workers run them. Again, it changes nothing."""
    from flows.cli import deploy  # noqa: PLC0415

    wish = deploy.DeploySpec.of(
        (recipe, settings or [], home), flows or [], (cron, every, timezone)
    )
    deploy.deploy(wish, pool, kind, jobs or [], _view(as_json))


@operating.command()
def work(
    pool: Annotated[str, typer.Argument(help="Work pool.")] = "stemworks",
    name: Annotated[str, typer.Option(help="Of this worker; by default this machine's.")] = "",
    most: Annotated[int, typer.Option("--limit", min=1, help="Runs at a time.")] = 8,
) -> None:
    """Run what waits in a work pool. Stays until Ctrl-C, which its runs heed, too."""
    from flows.cli import deploy  # noqa: PLC0415

    deploy.work(pool, name, most, _view(as_json=False))


def _view(as_json: bool) -> "View":
    from flows.cli.views import View  # noqa: PLC0415

    return View(Console(), as_json)
