"""Fan-out: ordered results, typed failures, workers that die with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.workers.fan_out import cores, fan_out
from storage.errors import DecodeError, LaunchError, RunError
from storage.processes import start_time


def square(number: int) -> int:
    time.sleep(0.02 * (3 - number))
    return number * number


def where(_: int) -> int:
    return os.getpid()


def fail(number: int) -> int:
    if number == 1:
        raise DecodeError("song is empty", "empty")
    if number == 2:
        raise LaunchError("it failed", 3, "last words")
    return number


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def heavy_modules(_: int) -> list[str]:
    import pipelines.packing.pack  # noqa: F401, PLC0415

    return [name for name in ("prefect", "torch", "flows", "training") if name in sys.modules]


def linger(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("workers", [0, 1, 2, 9])
def test_results_keep_the_items_order(workers: int) -> None:
    seen: list[int] = []
    assert fan_out(square, [1, 2, 3], workers, seen.append) == [1, 4, 9]
    assert sorted(seen) == [1, 4, 9]
    assert fan_out(square, [], workers) == []


def test_one_worker_or_one_item_stays_in_this_process() -> None:
    assert fan_out(where, [1, 2, 3], workers=1) == [os.getpid()] * 3
    assert fan_out(where, [1], workers=4) == [os.getpid()]
    assert os.getpid() not in fan_out(where, [1, 2], workers=2)
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_waits_for_the_others_and_keeps_its_type(workers: int) -> None:
    seen: list[int] = []
    with pytest.raises(DecodeError, match="song is empty") as caught:
        fan_out(fail, [0, 1, 2, 3], workers, seen.append)
    assert caught.value.reason == "empty"
    assert sorted(seen) == [0, 3]


def test_errors_with_details_survive_the_journey() -> None:
    with pytest.raises(LaunchError) as caught:
        fan_out(fail, [0, 2], workers=2)
    assert (caught.value.returncode, caught.value.tail) == (3, "last words")


def test_a_dead_worker_is_a_clear_error() -> None:
    with pytest.raises(RunError, match=r"a worker process died with . of 3 pieces done"):
        fan_out(die, [0, 1, 2], workers=2)


def test_workers_know_neither_the_orchestrator_nor_torch() -> None:
    assert fan_out(heavy_modules, [0, 1], workers=2) == [[], []]


def test_workers_do_not_import_the_main_module(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "from pathlib import Path\n"
        "from pipelines.workers.fan_out import fan_out\n"
        "from tests.pipelines.workers.test_fan_out import square\n"
        f"with Path({str(tmp_path / 'imports')!r}).open('a') as out: out.write('x')\n"
        "print(fan_out(square, [1, 2, 3], 2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    output = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
    )
    assert output.stdout == "[1, 4, 9]\n"
    assert (tmp_path / "imports").read_text() == "x"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_die_with_their_parent(tmp_path: Path, end: signal.Signals) -> None:
    script = (
        "import sys; from pipelines.workers.fan_out import fan_out\n"
        "from tests.pipelines.workers.test_fan_out import linger\n"
        "fan_out(linger, [sys.argv[1]] * 2, 2)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    try:
        workers = _wait_for_two(tmp_path)
        assert all(start_time(pid) for pid in workers)
        parent.send_signal(end)
        parent.wait(20)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20
    while any(start_time(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def _wait_for_two(folder: Path) -> list[int]:
    deadline = time.monotonic() + 30
    while len(pids := [int(path.name) for path in folder.iterdir()]) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.02)
    return pids
