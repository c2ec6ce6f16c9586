"""The recipe `real_tiny`, as a person types it, on the real recordings."""

import json
from pathlib import Path

import pytest

from tests.flows.conftest import Works
from tests.pipelines.test_real_recordings import CLIPS, DATA
from tests.pipelines.test_real_recordings import pytestmark as when_recordings_are_there

pytestmark = [*when_recordings_are_there, pytest.mark.slow]


def test_its_ledger_shows_what_was_counted_by_hand(works: Works, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    order = ["run", "fma", "--recipe", "real_tiny", "--home", home, "--set", f"data.root={DATA}"]
    answer = works(*order)
    assert answer.returncode == 0, answer.stderr
    census = json.loads(works("census", "--home", home, "--json").stdout)
    assert census["tracks_in"] == 17
    assert census["kept"] == 10
    assert census["filtered"] == {"rate_below_44100": 2, "too_short": 2}
    assert census["quarantined"] == {"empty": 1, "not_audio": 1, "truncated": 1}
    assert census["clips"] == 109
    assert census["tracks"] == CLIPS
    assert works(*order).returncode == 0
    states = works.states(works.last_run(home)["id"])
    assert set(states.values()) == {"Cached"}
