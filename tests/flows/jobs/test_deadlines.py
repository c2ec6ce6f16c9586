"""Work in threads ends when its time is over or its flow is stopped, and not otherwise."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flows.jobs.deadlines import TimeLimit, interruptible, stop, stopping, within
from pipelines.workers.fan_out import fan_out
from storage.errors import StoppedError, TimeLimitError
from storage.processes import children
from tests.processes import commands

LONG = TimeLimit(1.0, "limits.packing_hours")
SHORT = TimeLimit(0.3 / 3600, "limits.packing_hours")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    stopping.clear()
    yield
    stopping.clear()


def sleep_on() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.01)


def in_thread(work: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    """Start work in a thread; what it raises comes into the list."""
    raised: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  whatever it is, it is to be seen
            raised.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    return thread, raised


def at_work() -> list[int]:
    """Return the worker processes of this one."""
    own = set(children())
    return [
        process.pid
        for process, words in commands()
        if process.pid in own and any("spawn_main" in word for word in words)
    ]


def test_past_its_time_it_ends_and_says_which_setting() -> None:
    said = r"pack 0001 exceeded .*raise limits\.packing_hours"
    with pytest.raises(TimeLimitError, match=said), within(SHORT, "pack 0001"):
        sleep_on()


def test_what_is_done_in_time_is_left_alone() -> None:
    with within(SHORT, "pack 0001"):
        pass
    time.sleep(0.6)
    with within(LONG, "pack 0002"):
        time.sleep(0.1)


def test_nobody_takes_it_for_a_failure_of_what_he_does() -> None:
    cleaned = []
    with pytest.raises(TimeLimitError), within(SHORT, "pack 0001"):
        try:
            sleep_on()
        except Exception:  # noqa: BLE001  what decoders do with whatever a file makes them raise
            cleaned.append("taken")
        finally:
            cleaned.append("cleaned")
    assert cleaned == ["cleaned"]


def test_a_stop_ends_everything_and_lets_nothing_begin() -> None:
    begun = threading.Barrier(3)

    def work() -> None:
        with within(LONG, "stage train"):
            begun.wait()
            sleep_on()

    workers = [in_thread(work) for _ in range(2)]
    begun.wait()
    stop()
    for thread, raised in workers:
        thread.join(30)
        assert not thread.is_alive()
        assert [type(error) for error in raised] == [StoppedError]
    with pytest.raises(StoppedError, match="evaluate was stopped"), within(LONG, "evaluate"):
        raise AssertionError("begun")


def test_whatever_ends_the_flow_waits_until_its_work_has_ended() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        with within(LONG, "stage train"):
            try:
                begun.set()
                sleep_on()
            finally:
                time.sleep(0.5)
                ended.set()

    with pytest.raises(KeyboardInterrupt), interruptible():
        thread, _ = in_thread(work)
        assert begun.wait(30)
        raise KeyboardInterrupt
    assert ended.is_set(), "a job's checkpoint was written before the flow went on to end"
    thread.join(30)


def test_processes_at_work_do_not_outlive_their_time() -> None:
    """A thread that waits for worker processes hears it, too, and ends them."""
    with pytest.raises(TimeLimitError), within(TimeLimit(3 / 3600, "k"), "pack 0001"):
        fan_out(time.sleep, [120.0, 120.0], workers=2)
    deadline = time.monotonic() + 20
    while at_work():
        assert time.monotonic() < deadline
        time.sleep(0.05)
