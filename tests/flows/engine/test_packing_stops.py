"""Packing that is stopped while several of its tasks have units at work: it continues."""

import signal
import time
from pathlib import Path

import pytest

from tests.flows.conftest import LIMIT_SECONDS, Works
from tests.processes import with_words

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_packing_that_is_stopped_continues(
    works: Works, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    home = tmp_path / "home"
    # As many tasks as units, and a unit for each track: two are at work while others wait.
    order = works.order("fma", home, "fma.unit_tracks=1", "fma.units_per_task=1", "fma.workers=2")

    def marks() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in home.glob("marks/pack/*.json")}

    run = works.start(*order)
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(marks()) < 2:
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    packers = with_words("pipelines.workers.isolation", str(run.pid))
    assert packers
    run.send_signal(how)
    output = run.communicate(timeout=LIMIT_SECONDS)[0]
    assert run.returncode == code, output
    assert "Traceback" not in output
    assert not [child for child in packers if child.is_running()], "no child outlives the run"
    before = marks()
    again = works(*order)
    assert again.returncode == 0, again.stdout + again.stderr
    after = marks()
    assert before.items() <= after.items(), "what was packed is left as it was"
    assert len(after) == 9 > len(before)
    assert not list(home.glob("fma/*/shards/.*")), "nothing half written is left"
