"""The GPUs of this machine, without torch: which there are, and which job has which.

Jobs keep apart by a lock per GPU that the kernel frees when its holder dies, whatever server or
work pool they came from.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from flows.server.settings import ServerSettings
from storage.errors import LockedError
from storage.files import only_one

POLL_SECONDS = 0.5
QUESTION_SECONDS = 60.0
"""A driver that was asleep takes seconds to answer."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


def present() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name for name in given.replace(" ", "").split(",") if name not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=QUESTION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _listed(answer.stdout) if answer.returncode == 0 else []


@contextmanager
def allotted(count: int) -> Iterator[dict[str, str]]:
    """Hold `count` GPUs that no other job holds; give the environment that shows a job only those.

    Where there are fewer GPUs, all; where there is none, an empty environment. While too few are
    free it holds none, and waits.
    """
    names = present()
    wanted = min(count, len(names))
    with ExitStack() as held:
        mine: list[str] = []
        while len(mine) < wanted:
            mine = _grasp(names, wanted, held)
            if len(mine) < wanted:
                # Two jobs that each kept half of what they need would wait for ever.
                held.close()
                time.sleep(POLL_SECONDS)
        yield {VISIBLE: ",".join(mine)} if mine else {}


def _grasp(names: list[str], wanted: int, held: ExitStack) -> list[str]:
    folder = ServerSettings.from_environment().state / "gpus"
    mine: list[str] = []
    for name in names:
        if len(mine) == wanted:
            break
        with suppress(LockedError):
            held.enter_context(only_one(folder / f"{name}.lock", f"GPU {name}"))
            mine.append(name)
    return mine


def _listed(text: str) -> list[str]:
    """Read `nvidia-smi -L`; a GPU cut into MIG devices is used through these."""
    names: list[str] = []
    for line in text.splitlines():
        _, _, rest = line.partition("(UUID: ")
        name = rest.partition(")")[0]
        if not name:
            continue
        if name.startswith("MIG-") and names and names[-1].startswith("GPU-"):
            names.pop()
        names.append(name)
    return names
