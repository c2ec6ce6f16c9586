"""Flows deployed, served and worked on: scheduled, started and retried from the UI."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flows.cli.recover import tell, tell_of_lost_runs
from flows.cli.run import check_machine
from flows.cli.views import View, table_of
from flows.deploy.schedule import NEVER, Timing
from flows.server.server import connect
from flows.studies.request import RunRequest
from flows.studies.table import study_of_recipe
from storage.config import Json, assigned
from storage.home.layout import Home


@dataclass(frozen=True)
class DeploySpec:
    """Flows of one study to deploy, and when they run by themselves."""

    order: RunRequest
    """Of the whole study; the flows to deploy differ from it only in which flow they are."""
    flows: Sequence[str]
    """None: all, of which only the whole study runs by itself."""
    timing: Timing

    @classmethod
    def of(
        cls, study: tuple[str, list[str], str], flows: Sequence[str], when: tuple[str, str, str]
    ) -> "DeploySpec":
        """Return a wish of a study (recipe, settings, home) and a time (cron, every, timezone)."""
        return cls(RunRequest(study_of_recipe(study[0]).whole, *study), flows, Timing(*when))

    @property
    def timed(self) -> list[tuple[RunRequest, Timing]]:
        """Each flow to deploy, and when it runs by itself.

        Raises:
            ConfigError: a flow, the recipe or a setting is unknown.
        """
        found = [replace(self.order, flow=flow) for flow in self.flows or self.order.study.parts]
        return [
            (order, self.timing if self.flows or order.flow == order.study.whole else NEVER)
            for order in found
        ]


def serve(wish: DeploySpec, view: View) -> None:
    """Deploy flows and stay, running what is scheduled, started or retried in the UI.

    Raises:
        ConfigError: a flow, a setting or a schedule is refused.
        MachineError: this machine lacks what a study needs.
    """
    timed, home = wish.timed, Home.open(wish.order.home)
    check_machine(home, wish.order.config)
    address = connect()
    tell_of_lost_runs()
    # Prefect reads its settings when it is imported.
    from flows.deploy import serve  # noqa: PLC0415
    from flows.deploy.deployments import deployment_of  # noqa: PLC0415

    deployments = [deployment_of(order, timing) for order, timing in timed]
    names = ", ".join(deployment.name for deployment in deployments)
    view.show({}, f"Serving {names} at {address}/deployments. Ctrl-C ends it.")
    serve.serve(deployments, tell)


def deploy(wish: DeploySpec, pool: str, kind: str, variables: Sequence[str], view: View) -> None:
    """Deploy flows to a work pool, whose workers then run them.

    Raises:
        ConfigError: a flow, a setting, a schedule or a job variable is refused.
    """
    timed, given = wish.timed, job_variables(variables)
    address = connect()
    from flows.deploy.deployments import deploy as put  # noqa: PLC0415
    from flows.deploy.work_pools import Pool  # noqa: PLC0415

    done = put(timed, Pool.of(pool, kind, given))
    view.show(
        [{"what": what, "is": state} for what, state in done],
        table_of("On the server", ("what", "is"), done),
        f"A worker runs them: stemworks work {pool}. The forms are at {address}/deployments",
    )


def work(pool: str, name: str, most: int, view: View) -> None:
    """Stay, and run what waits in a work pool.

    Raises:
        ConfigError: there is no such pool, or what its kind needs is not installed.
    """
    address = connect()
    tell_of_lost_runs()
    from flows.deploy import serve  # noqa: PLC0415

    worker = serve.worker_of(pool, name, most)
    view.show({}, f"Working for pool '{pool}' at {address}/work-pools. Ctrl-C ends it.")
    serve.work(worker, tell)


def job_variables(given: Sequence[str]) -> Json:
    """Read assignments such as `gpu_count=4`.

    Raises:
        ConfigError: one has no `=`.
    """
    return dict(assigned(one, "--job gpu_count=1") for one in given)
