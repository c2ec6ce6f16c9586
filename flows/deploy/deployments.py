"""Flows deployed: in the UI each is a form, a schedule and a Retry button."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import cast

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.config import StudyConfig
from flows.deploy.schedule import Timing
from flows.deploy.work_pools import Pool
from flows.engine.flow import stemworks
from flows.recovery.concurrency_limits import ensure_limits, own_limits
from flows.studies.request import RunRequest
from flows.studies.table import named
from storage.errors import ConfigError
from storage.home.layout import Home
from training.config import TrainConfig


def deployment_of(order: RunRequest, timing: Timing, pool: Pool | None = None) -> RunnerDeployment:
    """Return the deployment of one flow; of no pool: for a process that serves it.

    Raises:
        ConfigError: a setting, a schedule or a job variable is refused; or the runs of a pool
            would not find the home or the archives.
    """
    config = order.config
    made = stemworks.to_deployment(
        name=name_of(order.flow, config),
        schedules=timing.schedules(),
        parameters=_parameters(order, pool),
        tags=tags_of(order),
        description=f"`{order.flow}` of study `{config.name}`, by recipe `{order.recipe}`.",
        job_variables=pool.variables if pool else None,
        # The project is installed wherever it runs: no code is fetched, and no folder is needed.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment = cast("RunnerDeployment", made)
    # Said even if there is none: else that of an earlier deployment of this name would stay.
    deployment.work_pool_name = pool.name if pool else None
    return deployment


def name_of(flow: str, config: StudyConfig) -> str:
    """Return a deployment's name: what runs, of which study."""
    return f"{flow}-{config.name}"


def tags_of(order: RunRequest) -> list[str]:
    """Return the tags of a flow's runs: whose they are, recipe, part, size of the separator."""
    # A study's trainings are of one size.
    models = [job.model for job in order.config.parts_of(TrainConfig).values()]
    sizes = [model.size for model in models[:1] if model.size]
    return ["stemworks", order.recipe, order.flow, *sizes]


def deploy(timed: Iterable[tuple[RunRequest, Timing]], pool: Pool) -> list[tuple[str, str]]:
    """Put a pool, limits and deployments on the server; return what there is, and what was done.

    Again, it changes nothing.

    Raises:
        ConfigError: see `deployment_of`; nothing is changed then.
    """
    deployments = [deployment_of(order, timing, pool) for order, timing in timed]
    with get_client(sync_client=True) as client:
        done = [(f"{pool.kind} pool {pool.name}", pool.ensure(client))]
        if pool.is_local:
            ensure_limits(client)
            done += [(f"limit {name}", "there") for name in own_limits()]
    for deployment in deployments:
        deployment.apply()
        done.append((f"deployment {deployment.full_name}", _timing_of(deployment)))
    return done


def _timing_of(deployment: RunnerDeployment) -> str:
    return "scheduled" if deployment.schedules else "to be started by hand"


def _parameters(order: RunRequest, pool: Pool | None) -> dict[str, object]:
    if pool is None or pool.is_local:
        home, overrides = Home.open(order.home).url, order.overrides
    else:
        home, overrides = _elsewhere(order, pool), order.settings
    return {"recipe": order.recipe, "overrides": overrides, "home": home, "part": order.flow}


def _elsewhere(order: RunRequest, pool: Pool) -> str:
    """Return the home of runs that do not see this machine's files."""
    if not order.home.startswith("s3://") and not PurePosixPath(order.home).is_absolute():
        raise ConfigError(
            f"runs of a {pool.kind} pool do not see the folder '{order.home}' of this machine; "
            "give --home s3://BUCKET/PREFIX, or /opt/stemworks/home where that is a volume"
        )
    # Not the order's own configuration, which names this machine's folder in full.
    config = named(order.recipe).override(order.settings)
    if not config.synthesis and not PurePosixPath(config.data.root).is_absolute():
        raise ConfigError(
            f"runs of a {pool.kind} pool do not see the archives of this machine; say where they "
            "are there, such as --set data.root=/opt/stemworks/archives"
        )
    return order.home
