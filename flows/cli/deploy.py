"""The server and what it schedules: limits and automations, deployments, workers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

import typer
from rich.table import Table

from flows.cli.options import AsJson, CronAt, Every, Flows, HomeAt, Recipe, Settings, Timezone
from flows.cli.output import View, stdout_view, table_of
from flows.cli.recover import report_crash, report_crashes
from flows.cli.run import check_machine
from flows.deploy.schedule import NEVER, Timing
from flows.server.server import connect, stop
from flows.server.settings import ServerSettings, database
from flows.studies.recipe_file import find_recipe
from flows.studies.request import RunRequest
from storage.config import Json, assigned
from storage.errors import ConfigError
from storage.home.open import open_home

app = typer.Typer()
PoolKind = Literal["process", "docker", "kubernetes"]
DatabaseName = Literal["postgresql", "sqlite"]


@dataclass(frozen=True)
class DeploySpec:
    """Flows of one study to deploy, and their schedules."""

    request: RunRequest
    """Of the whole study; the flows to deploy differ from it only in which flow they are."""
    flows: Sequence[str]
    """Empty: all, of which only the whole study is scheduled."""
    timing: Timing

    @classmethod
    def of(
        cls, study: tuple[str, list[str], str], flows: Sequence[str], when: tuple[str, str, str]
    ) -> "DeploySpec":
        """Return the spec of a study (recipe, settings, home) and a time (cron, every, zone).

        Raises:
            ConfigError: the recipe is unknown, or the time is refused.
        """
        return cls(RunRequest(find_recipe(study[0]).study.whole, *study), flows, Timing(*when))

    @property
    def timed(self) -> list[tuple[RunRequest, Timing]]:
        """Each flow to deploy, with its schedule.

        Raises:
            ConfigError: a flow, the recipe or a setting is unknown.
        """
        flows = self.flows or self.request.study.parts
        requests = [replace(self.request, flow=flow) for flow in flows]
        return [
            (request, self.timing if self.flows or request.flow == request.study.whole else NEVER)
            for request in requests
        ]


@app.command()
def ui() -> None:
    """Print the address of the Prefect UI. Starts the server if none runs."""
    stdout_view().console.print(f"The UI is at {connect()}", soft_wrap=True)
    report_crashes()


@app.command()
def down() -> None:
    """Stop the Prefect server that stemworks started."""
    stopped = stop(ServerSettings.from_environment())
    stdout_view().console.print("Stopped." if stopped else "No server was running.")


@app.command()
def init(
    resumes: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often a crashed run is restarted.")
    ] = 2,
    database: Annotated[
        DatabaseName | None,
        typer.Option(help="Of a server that stemworks did not start."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put limits and automations on the Prefect server. Safe to repeat."""
    prepare_server(resumes, database, stdout_view(as_json))


def prepare_server(resumes: int, given: DatabaseName | None, view: View) -> None:
    """Put limits, automations and notifications on the server. Safe to repeat.

    Raises:
        ConfigError: the database of a server that stemworks did not start is not given.
    """
    connect()
    from prefect.client.orchestration import get_client

    from flows.recovery import automations, concurrency_limits, machine_limits, notifications

    with get_client(sync_client=True) as client:
        kind = given or database()
        if kind is None:
            raise ConfigError(
                "the server at PREFECT_API_URL does not say which database it has; give "
                "--database postgresql or --database sqlite"
            )
        concurrency_limits.ensure_limits(client)
        rows: list[tuple[str, str]] = [("limit", name) for name in machine_limits.limit_names()]
        note = ""
        try:
            rows += [("automation", name) for name in automations.install(client, kind, resumes)]
        except ConfigError as error:
            note = str(error)
        rows.append(("notification", notifications.install(kind == "postgresql")))
    value = {"installed": [{"kind": kind, "name": name} for kind, name in rows], "note": note}
    table = table_of("On the server", ("what", "name"), rows)
    view.show(value, table, *([note] if note else []))


@app.command()
def serve(  # noqa: PLR0913, PLR0917  each option is an argument, as Typer asks
    recipe: Recipe,
    flows: Flows = None,
    settings: Settings = None,
    home: HomeAt = "home",
    cron: CronAt = "",
    every: Every = "",
    timezone: Timezone = "UTC",
) -> None:
    """Deploy flows and run them here: from the UI, and by schedule. Runs until Ctrl-C."""
    study, when = (recipe, settings or [], home), (cron, every, timezone)
    serve_flows(DeploySpec.of(study, flows or [], when), stdout_view())


def serve_flows(spec: DeploySpec, view: View) -> None:
    """Deploy flows and stay, running what is scheduled, started or retried in the UI.

    Raises:
        ConfigError: a flow or a setting is refused.
        MachineError: this machine lacks what a study needs.
    """
    timed, home = spec.timed, open_home(spec.request.home)
    check_machine(home, spec.request.config)
    address = connect()
    report_crashes()
    # Prefect reads its settings when it is imported.
    from flows.deploy.deployments import deployment_of
    from flows.deploy.next_runs import next_runs
    from flows.deploy.serve import serve

    deployments = [deployment_of(request, timing) for request, timing in timed]
    names = ", ".join(deployment.name for deployment in deployments)
    served = f"Serving {names} at {address}/deployments. Ctrl-C ends it."
    view.show({}, served, *_shown(next_runs(spec.timing), spec.timing.timezone))
    serve(deployments, report_crash)


@app.command()
def deploy(  # noqa: PLR0913, PLR0917
    recipe: Recipe,
    flows: Flows = None,
    settings: Settings = None,
    home: HomeAt = "home",
    pool: Annotated[
        str, typer.Option(metavar="NAME", help="Work pool; made if there is none.")
    ] = "stemworks",
    kind: Annotated[
        PoolKind, typer.Option("--type", help="Kind of a pool that is made.")
    ] = "process",
    jobs: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="NAME=VALUE", help="Job variable: gpu_count=4. Repeatable."),
    ] = None,
    cron: CronAt = "",
    every: Every = "",
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Deploy flows to a work pool, whose workers run them. Safe to repeat."""
    study, when = (recipe, settings or [], home), (cron, every, timezone)
    spec = DeploySpec.of(study, flows or [], when)
    deploy_flows(spec, (pool, kind, job_variables(jobs or [])), stdout_view(as_json))


def deploy_flows(spec: DeploySpec, pool: tuple[str, PoolKind, Json], view: View) -> None:
    """Deploy flows to a work pool (name, kind, job variables), whose workers then run them.

    Raises:
        ConfigError: a flow, a setting or a job variable is refused.
    """
    timed = spec.timed
    address = connect()
    from flows.deploy.deployments import SCHEDULED, deploy
    from flows.deploy.next_runs import next_runs
    from flows.deploy.work_pools import Pool

    deployed, runs = deploy(timed, Pool.of(*pool)), next_runs(spec.timing)
    dates = [run.isoformat() for run in runs]
    view.show(
        [
            {"what": what, "is": state, "next_runs": dates if state == SCHEDULED else []}
            for what, state in deployed
        ],
        table_of("On the server", ("what", "is"), deployed),
        *_shown(runs, spec.timing.timezone),
        f"Start a worker with: stemworks work {pool[0]}. Forms to start runs: "
        f"{address}/deployments",
    )


def _shown(runs: Sequence[datetime], timezone: str) -> list[Table]:
    """Return a table of the next runs; none without a schedule.

    With the offset, which tells the hour that a clock has twice, and that its change was heeded.
    """
    rows = [(f"{run:%a}", f"{run:%Y-%m-%d %H:%M:%S}", run.isoformat()[19:]) for run in runs]
    headers = ("", f"time in {timezone}", "ahead of UTC")
    return [table_of("The next runs", headers, rows)] if rows else []


def job_variables(given: Sequence[str]) -> Json:
    """Read assignments such as `gpu_count=4`.

    Raises:
        ConfigError: one has no `=`.
    """
    return dict(assigned(one, "--job gpu_count=1") for one in given)


@app.command()
def work(
    pool: Annotated[str, typer.Argument(help="Work pool; 'deploy' makes it.")] = "stemworks",
    name: Annotated[str, typer.Option(help="Of this worker; without it: this machine's.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Runs at a time.")] = 8,
) -> None:
    """Run what waits in a work pool, until Ctrl-C. That stops its runs, too."""
    address = connect()
    report_crashes()
    from flows.deploy import serve

    worker = serve.worker_of(pool, name, limit)
    stdout_view().show({}, f"Working for pool '{pool}' at {address}/work-pools. Ctrl-C ends it.")
    serve.work(worker, report_crash)
