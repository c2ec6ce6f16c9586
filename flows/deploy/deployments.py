"""Deployments of flows: each has a form, schedules and a Retry button in the UI."""

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
from flows.recovery.concurrency_limits import ensure_limits
from flows.recovery.machine_limits import limit_names
from flows.studies.request import RunRequest
from flows.ui.states import STEMWORKS_TAG
from storage.errors import ConfigError
from storage.home.open import open_home
from training.config import TrainConfig

SCHEDULED = "scheduled"
"""What is said of a deployment with a schedule."""


def deployment_of(
    request: RunRequest, timing: Timing, pool: Pool | None = None
) -> RunnerDeployment:
    """Return the deployment of one flow: to a work pool, or without one for `stemworks serve`.

    Raises:
        ConfigError: a setting or a job variable is not valid; or the pool's workers could not reach
            the home or the archives.
    """
    config, recipe = request.config, request.recipe_name
    made = stemworks.to_deployment(
        name=name_of(request.flow, config),
        schedules=timing.schedules(),
        parameters=_parameters(request, pool),
        tags=tags_of(request),
        description=f"`{request.flow}` of study `{config.name}`, by recipe `{recipe}`.",
        job_variables=pool.variables if pool else None,
        # The package is installed wherever it runs: no code is fetched, and no folder is needed.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment = cast("RunnerDeployment", made)
    # Set even if None: otherwise the pool of an earlier deployment of this name would remain.
    deployment.work_pool_name = pool.name if pool else None
    return deployment


def name_of(flow: str, config: StudyConfig) -> str:
    """Return a deployment's name: the flow, then the study."""
    return f"{flow}-{config.name}"


def tags_of(request: RunRequest) -> list[str]:
    """Return the tags of a flow's runs: Stemworks' own, the recipe, the flow, the model's size."""
    # A study's trainings are of one size.
    models = [job.model for job in request.config.parts_of(TrainConfig).values()]
    sizes = [model.size for model in models[:1] if model.size]
    return [STEMWORKS_TAG, request.recipe_name, request.flow, *sizes]


def deploy(timed: Iterable[tuple[RunRequest, Timing]], pool: Pool) -> list[tuple[str, str]]:
    """Create a work pool, limits and deployments on the server; return each with its state.

    Doing it twice changes nothing more.

    Raises:
        ConfigError: see `deployment_of`; the server is not changed then.
    """
    deployments = [deployment_of(request, timing, pool) for request, timing in timed]
    with get_client(sync_client=True) as client:
        done = [(f"{pool.kind} pool {pool.name}", pool.ensure(client))]
        if pool.is_local:
            ensure_limits(client)
            done += [(f"limit {name}", "exists") for name in limit_names()]
    for deployment in deployments:
        deployment.apply()
        done.append((f"deployment {deployment.full_name}", _timing_of(deployment)))
    return done


def _timing_of(deployment: RunnerDeployment) -> str:
    return SCHEDULED if deployment.schedules else "started manually"


def _parameters(request: RunRequest, pool: Pool | None) -> dict[str, object]:
    if pool is None or pool.is_local:
        home, overrides = open_home(request.home).url, request.overrides
    else:
        home, overrides = _remote_home(request, pool), request.settings
    return request.parameters(home, overrides)


def _remote_home(request: RunRequest, pool: Pool) -> str:
    """Return the home for runs that cannot read this machine's files."""
    if not request.home.startswith("s3://") and not PurePosixPath(request.home).is_absolute():
        raise ConfigError(
            f"runs of a {pool.kind} pool cannot read the folder '{request.home}' of this machine; "
            "give --home s3://BUCKET/PREFIX, or /opt/stemworks/home if that is a mounted volume"
        )
    # Not the request's own configuration, which has this machine's absolute folders in it.
    config = request.found.config.override(request.settings)
    for path in config.PATHS:
        unread = path == "data.root" and config.synthesis
        given = PurePosixPath(config.held(path))
        if not unread and not given.is_absolute():
            raise ConfigError(
                f"runs of a {pool.kind} pool cannot read {path} = '{given}' of this machine; give "
                "the folder that they see, such as "
                f"--set {path}=/opt/stemworks/{given.name or path}"
            )
    return request.home
