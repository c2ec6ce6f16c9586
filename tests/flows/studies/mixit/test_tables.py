"""A table end to end under Prefect: what is done is shared, what is new is done, once."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.studies.mixit.recipes import RECIPES
from flows.studies.mixit.tables import unlike_the_paper
from storage.records import SongScore
from tests.flows.conftest import Works
from tests.training.report.test_gains import by_hand

pytestmark = [pytest.mark.slow, pytest.mark.apart]
OWN_JOBS = ("pretrain", "select channels", "finetune", "train from scratch",
            "evaluate finetune", "evaluate train from scratch")  # fmt: skip
LARGE = [f"{half}.model.blocks=2" for half in ("pretraining", "finetuning")]


def read_scores(path: Path) -> list[SongScore]:
    return [SongScore.model_validate_json(line) for line in path.read_text().splitlines()]


def test_seeds(works: Works, copied: Path) -> None:
    """The first seed is the study's own and was done by it; the second is done, and then is too."""
    order = works.order("mixit_gain", copied)
    answer = works(*order, "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    states = works.states(works.last_run(copied)["id"])
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
    states = works.states(works.last_run(copied)["id"])
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


def test_the_papers_tables_share_what_they_can(works: Works, copied: Path) -> None:
    """One home, three tables: the study's own size and scale are done, the large one is done once
    for both tables that have it, and whoever trains from scratch needs no archive."""
    sizes = [{"name": "medium"}, {"name": "large", "settings": LARGE}]
    given = ["name=sizes", f"tables.sizes={json.dumps(sizes)}"]
    states, rows = tabulated(works, copied, "table1", *given)
    assert done_in(states) == {f"{job} large" for job in OWN_JOBS} | {"table1"}
    assert {states[f"{job} medium"] for job in OWN_JOBS} == {"Cached"}
    assert rows == [("medium", "from scratch", 8.75), ("medium", "MixIT", 9.3),
                    ("large", "from scratch", 9.21), ("large", "MixIT", 9.72)]  # fmt: skip

    _check_card(works, copied)

    given = ["name=frozen", f"tables.sizes={json.dumps(sizes[1:])}"]
    states, rows = tabulated(works, copied, "table2", *given)
    foundation = {"pretrain large", "select channels large"}
    assert {states[label] for label in foundation} == {"Cached"}
    assert done_in(states) == {f"{job} large" for job in OWN_JOBS} - foundation | {"table2"}
    assert rows == [("large", "from scratch", 3.83), ("large", "MixIT", 7.11)]
    assert len(foundations(copied)) == 2
    still = [run["recipe"]["freeze_separator"] for run in trainings(copied)]
    assert sorted(still) == [False] * 6 + [True] * 2

    scales = [{"name": "small"}, {"name": "full", "settings": ["fma.clips.hop_seconds=2"]}]
    given = ["name=scales", f"tables.scales={json.dumps(scales)}"]
    states, rows = tabulated(works, copied, "table3", *given)
    assert {states[f"{job} small"] for job in OWN_JOBS} == {"Cached"}
    assert states["census small"] == "Cached"
    assert {"census full", "pretrain full", "evaluate finetune full"} < done_in(states)
    assert not any("from scratch full" in label for label in states)
    assert rows == [("small", "from scratch", 8.75), ("small", "MixIT", 9.08),
                    ("full", "MixIT", 9.39)]  # fmt: skip
    clips = [json.loads(path.read_text())["clips"] for path in copied.glob("fma/*/census.json")]
    # Of 22, 12, 16 and 26 s, a start each 2 s; but the last is silent from 8 to 18 s, of which no
    # clip may hold more than 5 s: there only 0, 2, 14 and 16 s remain.
    assert sorted(clips) == [8, 7 + 2 + 4 + 4]
    assert len(foundations(copied)) == 3


def _check_card(works: Works, home: Path) -> None:
    """A variant's model is found by its label, and leaves with what it was pre-trained on."""
    answer = works("lineage", "finetune large", "--home", str(home), "--json")
    assert answer.returncode == 0, answer.stderr
    key = json.loads(answer.stdout)["made_by"]
    answer = works("export", str(home / "runs" / f"train-{key}"), str(home / "exported"))
    assert answer.returncode == 0, answer.stderr
    card = (home / "exported" / "README.md").read_text()
    assert "| Model | bs_locoformer (" in card
    assert ", blocks 2, " in card
    assert "| Pre-trained on | fma_tiny.zip |" in card
    assert "| Fine-tuned on | musdb_tiny.zip |" in card
    assert "mixtures of mixtures" in card


def tabulated(
    works: Works, home: Path, table: str, *settings: str
) -> tuple[dict[str, str], list[tuple[str, str, float]]]:
    """Run a table; return its tasks' states, and its rows with what the paper says of them."""
    answer = works(*works.order(table, home, *settings), "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    page = Path(json.loads(answer.stdout)["report"])
    found = json.loads(page.with_suffix(".json").read_text())
    text = page.read_text()
    for row in found["rows"]:
        assert row["scores"]["uSDR"]["average"] is not None
        assert row["job_hours"] > 0
        assert f"{row['variant']}, {row['start']}" in text
    assert any(line.startswith("pretraining.loop.steps:") for line in found["differences"])
    rows = [(row["variant"], row["start"], row["paper"]["uSDR"]) for row in found["rows"]]
    return works.states(works.last_run(home)["id"]), rows


def done_in(states: dict[str, str]) -> set[str]:
    return {label for label, state in states.items() if state == "Completed"}


def trainings(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in home.glob("runs/train-*/job.json")]


def foundations(home: Path) -> list[dict[str, Any]]:
    """Return the pre-trainings of a home."""
    return [job for job in trainings(home) if "index" in job["inputs"]]


def test_what_differs_from_the_paper_is_every_other_setting() -> None:
    assert not unlike_the_paper(RECIPES["paper"]())
    settings = {change.path for change in unlike_the_paper(RECIPES["smoke"]())}
    assert {"fma.archive", "pretraining.loop.steps", "finetuning.data.batch_size"} <= settings
