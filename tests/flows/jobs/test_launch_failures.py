"""A job that fails says why, and what can be tried again is told from what cannot."""

import signal
from pathlib import Path

import pytest

from flows.jobs import launch
from storage.errors import LaunchError, MachineError, PreemptedError
from storage.home.runs import Run
from tests.flows.jobs.conftest import REPORTER, do
from tests.small_disk import on_small_disks, small_disk


def test_a_failure_carries_the_childs_own_sentence(run: Run) -> None:
    child = f"{REPORTER}print('step 1')\nwrite_failure(run, DataError('no shards in here'), 3)\n"
    child += "print('error: bye')\nraise SystemExit(3)"
    with pytest.raises(LaunchError, match="exit code 3: no shards in here") as caught:
        do(run, child)
    assert caught.value.returncode == caught.value.exit_code == 3
    assert caught.value.tail.splitlines()[0] == "step 1"
    # What the last launch said is not what this one says.
    with pytest.raises(LaunchError, match=r"exit code 7: see the end of .*log\.txt") as caught:
        do(run, "raise SystemExit(7)")
    assert caught.value.tail == ""
    assert caught.value.exit_code == LaunchError.exit_code


@on_small_disks
def test_a_job_that_finds_no_room_for_its_words(tmp_path: Path, run: Run) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        child = f"""
import os
print("step 1", flush=True)
with open({str(disk.root / "ballast")!r}, "wb") as ballast:
    room = os.statvfs(ballast.fileno())
    os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_frsize)
print("step 2 " * 1000 + "\\nerror: cannot write a checkpoint", flush=True)
"""
        said = r"select job ended with exit code 1, and could not say why: no space is left under "
        with pytest.raises(MachineError, match=rf"{said}{disk.root}/full; free some, or use anoth"):
            do(Run(disk.root / "full"), child)


@pytest.mark.parametrize("code", [75, 130, 143, -signal.SIGTERM])
def test_whoever_was_told_to_stop_may_go_on(run: Run, code: int) -> None:
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    with pytest.raises(PreemptedError, match=f"exit code {code}: it was asked to stop") as caught:
        do(run, f"import os\n{end}")
    assert caught.value.returncode == code


@pytest.mark.parametrize("oom_kills", [[3, 3], [3, 4]])
def test_a_killed_child_is_told_from_a_oom_kills_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, oom_kills: list[int]
) -> None:
    """The kernel counts whom it kills because memory ran out; trying again would not help these."""
    counts = iter(oom_kills)
    monkeypatch.setattr(launch, "_oom_kills", lambda: next(counts))
    with pytest.raises(LaunchError, match="exit code -9") as caught:
        do(run, "import os\nos.kill(os.getpid(), 9)")
    assert caught.value.returncode == -signal.SIGKILL
    starved = oom_kills[0] != oom_kills[1]
    assert isinstance(caught.value, PreemptedError) != starved
    assert ("memory ran out" in str(caught.value)) == starved


def test_the_kernel_is_asked_about_memory() -> None:
    vmstat = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert launch._oom_kills() >= int(vmstat["oom_kill"])
