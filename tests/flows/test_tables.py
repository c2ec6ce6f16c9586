"""A table end to end under Prefect: what is done is shared, what is new is done, once."""

import json
import re
from pathlib import Path

import pytest

from flows.recipes import named
from flows.tables import unlike_the_paper
from storage.records import SongScore
from tests.flows.conftest import Works
from tests.training.report.test_gains import by_hand

pytestmark = pytest.mark.slow
OWN_JOBS = ("pretrain", "select channels", "finetune", "train from scratch",
            "evaluate finetune", "evaluate train from scratch")  # fmt: skip


def read_scores(path: Path) -> list[SongScore]:
    return [SongScore.model_validate_json(line) for line in path.read_text().splitlines()]


def test_seeds(works: Works, copied: Path) -> None:
    """The first seed is the study's own and was done by it; the second is done, and then is too."""
    order = works.order("mixit_gain", copied)
    answer = works(*order, "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    states = works.states(works.last_run()["id"])
    worked = {label for label, state in states.items() if state == "Completed"}
    assert worked == {f"{job} seed-1" for job in OWN_JOBS} | {"mixit_gain"}
    assert states["pretrain seed-0"] == states["census"] == "Cached"

    outcome = json.loads(answer.stdout)
    page = Path(outcome["report"])
    assert page.name == "mixit_gain.html"
    assert "All seeds: MixIT pre-training is worth" in page.read_text()
    assert "All seeds" in outcome["gain"]
    result = json.loads(page.with_suffix(".json").read_text())
    assert [(row["variant"], row["start"]) for row in result["rows"]] == [
        ("seed-0", "from scratch"), ("seed-0", "MixIT"),
        ("seed-1", "from scratch"), ("seed-1", "MixIT"),
    ]  # fmt: skip
    assert [row["seed"] for row in result["rows"]] == [0, 0, 1, 1]
    # A row that shares nothing with another takes what its jobs took.
    took = sum(row["job_hours"] for row in result["rows"])
    assert result["job_hours"] == pytest.approx(took, abs=0.001)
    assert [gain["name"] for gain in result["gains"]] == ["seed-0", "seed-1", "All seeds"]
    _check_gains(copied, result["gains"])

    again = works(*order)
    assert again.returncode == 0, again.stderr
    states = works.states(works.last_run()["id"])
    assert set(states.values()) == {"Cached"}
    held = json.loads(next(copied.glob("studies/*.json")).read_text())
    assert {"mixit_gain", "study"} <= set(held["parts"])


def _check_gains(home: Path, gains: list[dict[str, object]]) -> None:
    """The mean over seeds of differences that are worked out here from the score files."""
    folders: dict[tuple[int, bool], list[SongScore]] = {}
    for job in home.glob("runs/evaluate-*/job.json"):
        model = Path(json.loads(job.read_text())["inputs"]["model"])
        # The copied home's first jobs name the home that it was copied from.
        training = json.loads((home / "runs" / model.parts[-3] / "job.json").read_text())
        key = (training["recipe"]["loop"]["seed"], "model" in training["inputs"])
        folders[key] = read_scores(job.parent / "result" / "scores.jsonl")
    each = [by_hand(folders[seed, True], folders[seed, False]) for seed in (0, 1)]
    assert [gain["average"] for gain in gains] == pytest.approx([*each, sum(each) / 2])


def test_what_differs_from_the_paper_is_every_other_setting() -> None:
    assert not unlike_the_paper(named("paper"))
    lines = unlike_the_paper(named("smoke"))
    settings = {line.partition(":")[0] for line in lines}
    assert {"fma.archive", "pretraining.loop.steps", "finetuning.data.batch_size"} <= settings
    assert all(re.fullmatch(r"[\w.]+: .+ -> .+", line, re.DOTALL) for line in lines)
