"""What is skipped, what stops a run, and what it then says."""

import dataclasses
import json
import os
import re
import signal
import threading
from typing import Any

import pytest
import torch

from storage.errors import MachineError, RunError
from tests.training.jobs.test_train import Altered, MakeRun, losses_of, rows, still
from training.config import TrainConfig
from training.data.batches import Batch, Loader
from training.distributed import ProcessRank, join, naming_the_lost
from training.engine.checkpoint import Progress
from training.engine.guards import Interruption, account, elected, is_exhaustion, require_budget
from training.engine.loop import Work, fit
from training.engine.memory import advice
from training.jobs.train import assemble, train
from training.objectives.objective import Objective, Outcome


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_elected(number: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert elected([float(vote) for vote in interruption.votes()]) == 0
        os.kill(os.getpid(), number)
        # Three processes of which all, or one, got it.
        for several in (1, 3):
            assert elected([several * float(vote) for vote in interruption.votes()]) == number
    assert signal.getsignal(number) is before


def test_elsewhere_than_in_the_main_thread_nothing_is_noted() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(enter()))
    thread.start()
    thread.join()
    assert found == [0, 0]


def enter() -> list[int]:
    with Interruption() as interruption:
        return interruption.votes()


def test_sigterm_weighs_more_than_ctrl_c() -> None:
    assert elected([1.0, 1.0]) == signal.SIGTERM


def test_steps_are_counted() -> None:
    progress = Progress()
    outcomes = [(-1.0, 2.0), (float("nan"), 2.0), (-1.0, float("inf")), (-3.0, 1.0)]
    assert [account(progress, *outcome) for outcome in outcomes] == [True, False, False, True]
    assert progress == Progress(step=4, window=[-1.0, -3.0], skipped=2, skipped_in_row=0)
    assert progress.updates == 2


@pytest.mark.parametrize(
    ("progress", "stops"),
    [
        (Progress(step=1000, skipped=30, skipped_in_row=1), False),
        (Progress(step=1000, skipped=31, skipped_in_row=1), True),
        (Progress(step=19, skipped=19, skipped_in_row=19), False),
        (Progress(step=20, skipped=20, skipped_in_row=20), True),
    ],
)
def test_the_budget(progress: Progress, stops: bool) -> None:
    if not stops:
        require_budget(progress)
        return
    with pytest.raises(RunError, match="not finite"):
        require_budget(progress)


class Named(Loader):
    """A loader that knows its keys, over another one."""

    def __init__(self, loader: Loader) -> None:
        self.__dict__ |= loader.__dict__

    def keys(self, step: int) -> list[str]:
        return [f"t{step}_a", f"t{step}_b"]


def work_of(make_run: MakeRun, recipe: TrainConfig, objective: Any) -> Work:
    run = make_run("guarded", "train", recipe)
    with join(recipe.runtime) as place:
        work = assemble(run, run.job(), recipe, place)
    return dataclasses.replace(work, objective=objective(work.objective), data=Named(work.data))


class InfiniteGradients(Altered):
    """Loss and outputs as they should be, but every third gradient overflows."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._calls = 0

    def __call__(self, forward: Any, batch: Batch) -> Outcome:
        outcome: Outcome = self._objective(forward, batch)
        self._calls += torch.is_grad_enabled()
        if torch.is_grad_enabled() and self._calls % 3 == 0:
            # Value 0, slope infinite.
            overflow = (outcome.loss - outcome.loss.detach()) * torch.inf
            return outcome._replace(loss=outcome.loss + overflow.nan_to_num())
        return outcome


def test_a_skipped_step_names_its_samples_and_changes_nothing(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    work = work_of(make_run, mixit.override(["loop.ema_decay=0.5"]), InfiniteGradients)
    before = {name: value.clone() for name, value in work.model.state_dict().items()}
    fit(work)
    run = make_run("guarded", "train", mixit)
    skipped = [row for row in rows(run) if row["kind"] == "skipped"]
    assert [row["step"] for row in skipped] == [3, 6]
    assert skipped[0]["keys"] == ["t2_a", "t2_b"]
    assert skipped[0]["first_example"] == 2 * mixit.data.batch_size
    assert skipped[0]["grad_norm"] in ("nan", "inf")
    assert float(skipped[0]["loss"]) < 100
    assert all(value.isfinite().all() for value in work.model.state_dict().values())
    assert any(
        not torch.equal(before[name], value) for name, value in work.model.state_dict().items()
    )
    for line in run.metrics.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


class Hungry(Altered):
    """Asks for more memory than any machine has when it gets more than two examples."""

    def __init__(self, objective: Objective, most: int = 2) -> None:
        super().__init__(objective)
        self._most = most

    def __call__(self, forward: Any, batch: Batch) -> Outcome:
        outcome: Outcome = self._objective(forward, batch)
        if batch.size > self._most:
            torch.empty(1 << 55)
        return outcome


def test_full_memory_says_what_fits_and_that_works(make_run: MakeRun, mixit: TrainConfig) -> None:
    recipe = still(mixit).override(["data.batch_size=5"])
    with pytest.raises(MachineError, match=r"full with 5 examples.*2 fit.*runtime\.micro_batch=2"):
        fit(work_of(make_run, recipe, Hungry))
    fit(work_of(make_run, recipe.override(["runtime.micro_batch=2"]), Hungry))
    whole = make_run("whole", "train", recipe)
    train(whole)
    guarded = make_run("guarded", "train", recipe)
    assert losses_of(guarded) == pytest.approx(losses_of(whole), abs=1e-4)


def test_full_memory_where_nothing_fits(make_run: MakeRun, mixit: TrainConfig) -> None:
    with pytest.raises(MachineError, match="not even one fits; give it more"):
        fit(work_of(make_run, mixit, lambda objective: Hungry(objective, most=0)))


def test_other_errors_are_not_mistaken_for_full_memory() -> None:
    assert is_exhaustion(MemoryError())
    assert is_exhaustion(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_exhaustion(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 55)
    assert is_exhaustion(refused.value)


def test_a_lost_process_is_told_from_other_errors() -> None:
    two = ProcessRank(0, 2)
    lost = "[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"
    with (
        pytest.raises(RunError, match="lost another of the job's 2 processes"),
        naming_the_lost(two),
    ):
        raise RuntimeError(lost)
    for place, said in ((two, "shapes cannot be multiplied"), (ProcessRank(), lost)):
        with pytest.raises(RuntimeError, match=re.escape(said)), naming_the_lost(place):
            raise RuntimeError(said)


def test_one_of_several_processes_measures_by_itself(make_run: MakeRun, mixit: TrainConfig) -> None:
    """Gradients of a model that is wrapped for several processes would wait for the others."""
    work = work_of(make_run, still(mixit), Hungry)
    for parameter in work.model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda _: pytest.fail("asks the others"))
    said = advice(
        work.model, work.objective, ProcessRank(0, 2), Batch.of_sum(torch.randn(5, 2, 2, 4000))
    )
    assert "2 fit, as was just measured" in said
