"""A person's word before GPU time is spent: the run pauses, shows what it will cost, and waits."""

from collections.abc import Iterable
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from flows.config import GatesConfig, StudyConfig
from flows.studies.estimates import cost_of
from flows.studies.graph import Part, build_graph
from flows.studies.runner import DryRun, Product
from flows.ui.artifacts import Artifact
from flows.ui.events import announce
from storage.errors import RunError
from storage.home.layout import Home

LABEL = "approval"
POLL_SECONDS = 5
AGREED = "stemworks.approved_gpu_hours"
"""A label of the run: what a person agreed to, which a retry need not ask again."""


class Approval(RunInput):
    """What a person answers in the UI's form, or with `stemworks approve`."""

    approved: bool = Field(default=True, title="Approved", description="If not, the run ends.")
    reason: str = Field(default="", title="Reason", description="Told in the run's state.")


class Consent:
    """Asks once, when what the first GPU job needs is there and its cost is known best."""

    def __init__(self, config: StudyConfig, home: Home, part: Part) -> None:
        self._config, self._home, self._part = config, home, part

    def given(self, inputs: Iterable[Product]) -> bool:
        """Return whether GPU jobs may begin; False where this one's inputs failed: ask later.

        Raises:
            RunError: a person refused, or nobody answered in time.
        """
        if self._config.gates.approval_gpu_hours is None:
            return True
        needed = list(inputs)
        for product in needed:
            product.wait()
        if not all(product.state.is_completed() for product in needed):
            return False
        prospect = DryRun(self._home)
        build_graph(prospect, self._config, self._home, self._part)
        costs = [(one.label, cost_of(self._home, one).gpu_hours) for one in prospect.outlooks]
        rows = [f"| {label} | {hours:.3g} |" for label, hours in costs if hours]
        plan = "\n".join(["| stage | GPU-hours |", "| --- | ---: |", *rows])
        ask(self._config.gates, sum(hours for _, hours in costs), plan)
        return True


def ask(gates: GatesConfig, gpu_hours: float, plan: str) -> None:
    """Pause the present flow run until a person agrees to what its GPU jobs will cost.

    Raises:
        RunError: they refused, or nobody answered in time.
    """
    limit = gates.approval_gpu_hours
    if limit is None or gpu_hours <= max(limit, _agreed()):
        return
    cost = f"{gpu_hours:.3g} GPU-hours"
    advice = (
        "Answer with *Resume* on the run's page, with `stemworks approve RUN`, or with "
        "`stemworks approve RUN --refuse`."
    )
    sheet = Artifact("markdown", LABEL, "What is asked before GPU time is spent")
    sheet.show(f"## May this run spend {cost}?\n\n{plan}\n\n{advice}")
    announce("stemworks.approval.asked", LABEL, {"gpu_hours": gpu_hours})
    answer = _answer(gates, cost, plan)
    why = f" ({answer.reason})" if answer.reason else ""
    if not answer.approved:
        announce("stemworks.approval.refused", LABEL, {"reason": answer.reason})
        sheet.show(f"## {cost} were refused{why}\n\n{plan}")
        raise RunError(f"{cost} were refused{why}; what is done stays done")
    _agree(gpu_hours)
    announce("stemworks.approval.given", LABEL, {"reason": answer.reason})
    sheet.show(f"## {cost} were approved{why}\n\n{plan}")


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
            f"nobody approved {cost} within {gates.approval_wait_hours:g} hours; run it again and "
            "approve it, or raise gates.approval_gpu_hours"
        ) from error
    return answer


def _agreed() -> float:
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(UUID(flow_run.get_id())).labels
    return float(labels.get(AGREED, 0.0))


def _agree(gpu_hours: float) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(flow_run.get_id()), {AGREED: gpu_hours})
