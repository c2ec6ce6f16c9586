"""Approval before GPU time is spent: the run pauses, shows what it will cost, and waits."""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from flows.config import GatesConfig
from flows.engine.task_policy import MarkFuture
from flows.studies.estimates import cost_of
from flows.studies.runner import StageStatus
from flows.ui.artifacts import Artifact
from flows.ui.events import announce
from storage.errors import RunError
from storage.home.layout import Home

LABEL = "approval"
POLL_SECONDS = 5
APPROVED = "stemworks.approved_gpu_hours"
"""A label of the run: the GPU-hours that were approved, for which a retry need not ask again."""


class Approval(RunInput):
    """The answer given in the UI's form, or with `stemworks approve`."""

    approved: bool = Field(default=True, title="Approved", description="If not, the run ends.")
    reason: str = Field(default="", title="Reason", description="Shown in the run's state.")


class ApprovalGate:
    """Asks once, when what the first GPU job needs is there and the cost is known best."""

    def __init__(
        self, gates: GatesConfig, home: Home, look: Callable[[], Sequence[StageStatus]]
    ) -> None:
        self._gates, self._home, self._look = gates, home, look
        self._open = gates.approval_gpu_hours is None

    def pass_through(self, inputs: Iterable[MarkFuture]) -> None:
        """Let a GPU job begin, given its inputs; where these failed, the next job asks.

        Raises:
            RunError: the cost was refused, or no answer came in time.
        """
        if self._open:
            return
        needed = list(inputs)
        for product in needed:
            product.wait()
        if not all(product.state.is_completed() for product in needed):
            return
        costs = [(one.label, cost_of(self._home, one).gpu_hours) for one in self._look()]
        rows = [f"| {label} | {hours:.3g} |" for label, hours in costs if hours]
        plan = "\n".join(["| stage | GPU-hours |", "| --- | ---: |", *rows])
        ask(self._gates, sum(hours for _, hours in costs), plan)
        self._open = True


def ask(gates: GatesConfig, gpu_hours: float, plan: str) -> None:
    """Pause the present flow run until the cost of its GPU jobs is approved.

    Raises:
        RunError: it was refused, or no answer came in time.
    """
    limit = gates.approval_gpu_hours
    if limit is None or gpu_hours <= max(limit, _approved()):
        return
    cost = f"{gpu_hours:.3g} GPU-hours"
    advice = (
        "Answer with *Resume* on the run's page, with `stemworks approve RUN`, or with "
        "`stemworks approve RUN --refuse`."
    )
    page = Artifact("markdown", LABEL, "Approval of the GPU time of this run")
    page.show(f"## May this run spend {cost}?\n\n{plan}\n\n{advice}")
    announce("stemworks.approval.asked", LABEL, {"gpu_hours": gpu_hours})
    answer = _answer(gates, cost, plan)
    why = f" ({answer.reason})" if answer.reason else ""
    if not answer.approved:
        announce("stemworks.approval.refused", LABEL, {"reason": answer.reason})
        page.show(f"## {cost} were refused{why}\n\n{plan}")
        raise RunError(f"{cost} were refused{why}; what is done stays done")
    _record(gpu_hours)
    announce("stemworks.approval.given", LABEL, {"reason": answer.reason})
    page.show(f"## {cost} were approved{why}\n\n{plan}")


def _answer(gates: GatesConfig, cost: str, plan: str) -> Approval:
    form = Approval.with_initial_data(description=f"May this run spend {cost}?\n\n{plan}")
    try:
        answer: Approval = pause_flow_run(
            wait_for_input=form,
            timeout=round(gates.approval_wait_hours * 3600),
            poll_interval=POLL_SECONDS,
            # Prefect never pauses twice under one key: a retry must be able to ask again.
            key=f"{LABEL}-{flow_run.get_run_count()}",
        )
    except FlowPauseTimeout as error:
        raise RunError(
            f"{cost} was not approved within {gates.approval_wait_hours:g} hours; run it again and "
            "approve it, or raise gates.approval_gpu_hours"
        ) from error
    return answer


def _approved() -> float:
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(UUID(flow_run.get_id())).labels
    return float(labels.get(APPROVED, 0.0))


def _record(gpu_hours: float) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(flow_run.get_id()), {APPROVED: gpu_hours})
