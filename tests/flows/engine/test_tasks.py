"""The policy of tasks: what is waited for, tried again, timed, and how it ends."""

import threading
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Failed

from flows.config import LimitsConfig
from flows.engine import task_policy, tasks
from flows.engine.task_policy import Outcome
from flows.engine.tasks import wait_for_lock
from flows.stage_id import Role
from flows.stages import data, training
from flows.stages.stage import Built, Inputs, Performed, Site, Stage, perform
from pipelines.config import FmaConfig
from storage.errors import (
    LaunchError,
    MachineError,
    PreemptedError,
    RunError,
    StoppedError,
    TimeLimitError,
)
from storage.home.layout import Home
from tests.flows.stages.test_stage import Silent


def test_a_stage_in_other_hands_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second waits, says so once, and finds it done."""
    monkeypatch.setattr(tasks, "LOCK_SECONDS", 0.02)
    home, config, said = Home(tmp_path), FmaConfig(), list[str]()
    built = threading.Event()
    waiting = threading.Event()

    def build(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
        assert not built.is_set(), "built once"
        built.set()
        assert waiting.wait(60)
        path = tmp_path / "made"
        path.write_text("x")
        return Built({"made": path}, {})

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    stage = Stage("slow", 1, build)
    site = Site(home, stage.work(config, {}).key, Silent())
    first: list[Performed] = []
    other = threading.Thread(target=lambda: first.append(perform(site, stage, config, {})))
    other.start()
    assert built.wait(60)
    mark, cached = wait_for_lock(lambda: perform(site, stage, config, {}), say)
    other.join()
    assert cached
    assert mark == first[0].mark
    assert len(said) == 1
    assert "waits for another run: stage slow is being done by another process" in said[0]


LIMITS = LimitsConfig(
    training_hours=1, selection_hours=2, evaluation_hours=3, packing_hours=4, other_hours=5
)


@pytest.mark.parametrize(
    ("role", "hours"),
    [
        (training.TRAIN.role, 1),
        (training.SELECT.role, 2),
        (training.EVALUATE.role, 3),
        (Role.PACKING, 4),
        (data.CENSUS.role, 5),
        (data.PLAN.role, 5),
    ],
)
def test_each_stage_has_its_time_and_the_setting_s_name(role: Role, hours: int) -> None:
    limit = tasks.time_limit(LIMITS, role)
    assert limit.hours == hours
    assert getattr(LIMITS, limit.setting.removeprefix("limits.")) == hours


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError("reset"), True),
        (PreemptedError("stopped from outside", 143), True),
        (LaunchError("its own fault", 3), False),
        (TimeLimitError("too long"), False),
        (MachineError("disk full"), False),
        (RunError("no shards"), False),
    ],
)
def test_what_is_tried_again(error: Exception, again: bool) -> None:
    run: Any = None
    assert task_policy.is_transient(None, run, Failed(data=error)) == again


def test_states_tell_what_happened() -> None:
    def late() -> Outcome:
        raise TimeLimitError("stage train ran past its time limit")

    def stopped() -> Outcome:
        raise StoppedError("stage train was stopped with its flow")

    timed_out: Any = task_policy.ending_as_states(late)()
    assert (timed_out.type, timed_out.name) == (StateType.FAILED, "TimedOut")
    assert timed_out.message == "stage train ran past its time limit"
    cancelled: Any = task_policy.ending_as_states(stopped)()
    assert (cancelled.type, cancelled.name) == (StateType.CANCELLED, "Cancelled")
    assert cancelled.message == "stage train was stopped with its flow"
    done: State[int] = Completed(data=3)
    assert task_policy.ending_as_states(lambda: done)() is done
