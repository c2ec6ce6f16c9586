"""The gate between data and GPU time: what it refuses, and that it changes no key."""

from pathlib import Path
from typing import Any

import pytest

from flows.config import GatesConfig
from flows.stages.quality_gate import GATE, faults_of
from flows.stages.stage import Site, perform
from storage.config import Json
from storage.errors import DataError
from storage.home.failures import last_failure
from storage.home.layout import Home
from storage.home.marks import Mark, Work, commit
from tests.flows.stages.test_stage import Silent

CENSUS: Json = {
    "tracks_in": 100, "hours": 8.0, "hours_in": 10.0, "quarantined": {"truncated": 3, "empty": 2},
    "hours_lost": {"silent": 1.0, "unclipped": 0.5, "too_short": 0.5},
}  # fmt: skip


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def log(self, message: str, level: int = 20) -> None:
        self.said.append(message)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({}, []),
        ({"minimum_hours": 8, "maximum_failures": 0.05, "maximum_silence": 0.15}, []),
        ({"minimum_hours": 8.1}, ["8.00 hours", "minimum_hours is 8.1"]),
        ({"maximum_failures": 0.049}, ["5.0% of the tracks failed", "4.9%"]),
        ({"maximum_silence": 0.149}, ["15.0% of the decoded hours", "14.9%"]),
    ],
)
def test_what_is_refused(gates: dict[str, Any], said: list[str]) -> None:
    faults = faults_of(CENSUS, GatesConfig(**gates))
    assert len(faults) == bool(said)
    assert all(part in fault for fault in faults for part in said)
    assert GatesConfig(**gates).judge == bool(gates)


def test_an_empty_corpus_is_judged() -> None:
    nothing = CENSUS | {"tracks_in": 0, "hours": 0.0, "hours_in": 0.0, "quarantined": {}}
    assert len(faults_of(nothing, GatesConfig(minimum_hours=1, maximum_failures=0))) == 1


def census(home: Home) -> Mark:
    path = home.root / "index.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    card = path.with_name("README.md")
    card.write_text("what the corpus is")
    outputs = {"index.json": path, "README.md": card}
    return commit(home, Work("census", 1, {}, {}), outputs, CENSUS, 1.0, about=["README.md"])


def test_what_follows_is_keyed_as_without_a_gate(tmp_path: Path) -> None:
    home, watch = Home(tmp_path), Notes()
    given = census(home)
    gates = GatesConfig(minimum_hours=9, action="warn")
    passed = perform(Site(home, "key", watch), GATE, gates, {"census": given}).mark
    assert passed.digest == given.digest
    assert passed.path(home, "index.json") == given.path(home, "index.json")
    assert watch.said == [
        "the data is worse than the gates ask: 8.00 hours of music are kept, but "
        "gates.minimum_hours is 9"
    ]


def test_a_warning_of_before_does_not_open_a_gate_that_blocks(tmp_path: Path) -> None:
    home = Home(tmp_path)
    given = {"census": census(home)}
    warned = GatesConfig(minimum_hours=9, action="warn")
    perform(Site(home, "key", Notes()), GATE, warned, given)
    blocked = warned.model_copy(update={"action": "block"})
    with pytest.raises(DataError, match=r"8\.00 hours.*gates\.action=warn"):
        perform(Site(home, "key", Notes()), GATE, blocked, given)
    assert "not good enough" in last_failure(home, GATE.work(blocked, given))
    # Who approves, and when, is no part of what the gate found.
    asking = warned.model_copy(update={"approval_gpu_hours": 1.0})
    assert perform(Site(home, "key", Notes()), GATE, asking, given).cached
