"""Seconds of a job add up over the attempts that it took, however each of them ended."""

from pathlib import Path

import pytest

from flows.jobs import attempts
from flows.jobs.attempts import AttemptTiming, seconds_of
from flows.stages.stage import Built, Site, Stage, perform
from storage.config import Config
from storage.home.job_events import JobEvent, ProgressEvent
from storage.home.layout import Home
from storage.home.runs import Run
from tests.flows.stages.test_stage import Silent, Text


class Clock:
    """Time as the test says it goes."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(attempts, "time", clock)
    return clock


def test_a_stopped_attempt_counts(tmp_path: Path, clock: Clock) -> None:
    run = Run(tmp_path)
    with pytest.raises(KeyboardInterrupt), AttemptTiming(run) as first:
        assert first.earlier_seconds == 0
        clock.now += 40
        raise KeyboardInterrupt
    with AttemptTiming(run) as second:
        clock.now += 2
    assert second.earlier_seconds == 40
    assert seconds_of(run) == [40, 2]


def test_a_killed_attempt_counts_up_to_its_last_lines(tmp_path: Path, clock: Clock) -> None:
    heard: list[JobEvent] = []
    killed = AttemptTiming(Run(tmp_path)).__enter__()
    pass_on = killed.timing(heard.append)
    steps = [ProgressEvent(done=step, total=3, unit="steps") for step in (1, 2, 3)]
    for step in steps:
        clock.now += attempts.WRITE_SECONDS
        pass_on(step)
    clock.now += 1000
    with AttemptTiming(Run(tmp_path)) as again:
        assert again.earlier_seconds == 3 * attempts.WRITE_SECONDS
    assert heard == steps


def test_a_torn_note_is_no_note(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.attempts.write_text("[12.0, ")
    assert seconds_of(run) == []


def test_a_mark_holds_all_attempts(tmp_path: Path) -> None:
    def build(site: Site, config: Config, inputs: object) -> Built:
        path = site.home.root / "made"
        path.write_text("x")
        return Built({"made": path}, {}, earlier_seconds=5000.0)

    stage, home = Stage("long", 1, build), Home(tmp_path)
    mark = perform(Site(home, "key", Silent()), stage, Text(), {}).mark
    assert 5000 <= mark.seconds < 5100
