"""A trained model leaves its home whole, explained, and loads as its card says."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli import export as exporting
from flows.cli.output import View
from pipelines.licences import PUBLISHED
from storage.errors import CheckpointError, ConfigError
from storage.files import hash_file
from storage.manifests import read_rows, read_table
from storage.records import StemSong, TrainedOn
from training.report.formats import count

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def export(run: Path, out: Path) -> str:
    console = Console(file=io.StringIO(), width=200, _environ={})
    exporting.export_model(run, out, View(console, as_json=False))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def run_of(home: Path, *inputs: str) -> Path:
    """Return the run directory of the training that was given these inputs, and no others."""
    for job in home.glob("runs/train-*/job.json"):
        given = json.loads(job.read_text())["inputs"].keys() - {"home", "corpus"}
        if given == set(inputs):
            return job.parent
    raise AssertionError(f"no training of {inputs} in {home}")


@pytest.fixture
def tuned(finished: Path) -> Path:
    return run_of(finished, "model", "channels", "songs", "activity")


def test_weights_and_explanation_are_copied_byte_for_byte(tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    assert "lineage.json" in export(tuned, out)
    for name in ("model.safetensors", "model.json"):
        assert (out / name).read_bytes() == (tuned / "result" / "model" / name).read_bytes()
    steps = json.loads((out / "lineage.json").read_text())["steps"]
    assert {"train", "census", "unpack-musdb"} <= {step["stage"] for step in steps.values()}


def test_the_card_loads_the_model_as_it_says(tuned: Path, tmp_path: Path) -> None:
    """Its snippet, verbatim, in the exported folder; then a forward pass in plain PyTorch."""
    out = tmp_path / "exported"
    export(tuned, out)
    card = (out / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert [len(snippet.splitlines()) for snippet in snippets] == [3]
    proof = (
        "import torch\n"
        "assert isinstance(separator, torch.nn.Module) and not separator.training\n"
        "with torch.inference_mode():\n"
        "    assert separator(torch.randn(1, 1, 2, 44_100)).shape == (1, 4, 2, 44_100)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", snippets[0] + proof],
        cwd=out, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "| this model | uSDR |" in card
    assert "synthesised" not in card, "the archives of this study were given"


def test_what_a_card_says_of_its_training_is_so(finished: Path, tmp_path: Path) -> None:
    export(run_of(finished, "songs", "activity"), tmp_path / "scratch")
    card = (tmp_path / "scratch" / "README.md").read_text()
    assert "Pre-trained on" not in card
    assert "musdb_tiny.zip" in card
    export(run_of(finished, "index"), tmp_path / "foundation")
    card = (tmp_path / "foundation" / "README.md").read_text()
    assert "Fine-tuned on" not in card
    assert "outputs have no names" in card
    assert "Not scored." in card


def test_every_track_that_it_was_trained_on_is_named(
    finished: Path, tuned: Path, tmp_path: Path
) -> None:
    export(tuned, tmp_path / "tuned")
    rows = read_table(tmp_path / "tuned" / "ATTRIBUTION.csv", TrainedOn)
    [census], [units_file] = finished.glob("fma/*/census.json"), finished.glob("fma/*/units.jsonl")
    units = [json.loads(line) for line in units_file.read_text().splitlines()]
    splits = {track["id"]: track["split"] for unit in units for track in unit["tracks"]}
    kept = {track for track in json.loads(census.read_text())["tracks"] if splits[track] != "test"}
    assert {row.track for row in rows if row.use == "pre-training"} == kept
    [songs] = finished.glob("musdb/*/songs.jsonl")
    trained = {song.name for song in read_rows(songs, StemSong) if song.split != "test"}
    assert {row.track for row in rows if row.use == "fine-tuning"} == trained
    assert len(rows) == len(kept) + len(trained)
    assert {row.licence for row in rows if row.use == "fine-tuning"} == {PUBLISHED["musdb18hq"]}
    card = (tmp_path / "tuned" / "README.md").read_text()
    assert f"Pre-training: {count(len(kept), 'track')} of fma_tiny.zip, by licence: " in card
    assert f"{PUBLISHED['musdb18hq']} ({len(trained)})" in card
    music = json.loads((tmp_path / "tuned" / "lineage.json").read_text())["music"]
    assert [one["archive"] for one in music["trained_on"]] == ["fma_tiny.zip", "musdb_tiny.zip"]
    assert music["licences_allowed"] == music["not_listed"] == []


def test_a_model_names_what_led_to_it_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    for inputs, use in ((("songs", "activity"), "fine-tuning"), (("index",), "pre-training")):
        export(run_of(finished, *inputs), tmp_path / use)
        rows = read_table(tmp_path / use / "ATTRIBUTION.csv", TrainedOn)
        assert {row.use for row in rows} == {use}
        assert use.capitalize() in (tmp_path / use / "README.md").read_text()


def test_tracks_that_an_earlier_census_did_not_list_are_missed(
    copied: Path, tmp_path: Path
) -> None:
    [path] = copied.glob("marks/census/*.json")
    mark = json.loads(path.read_text())
    mark["outputs"] = [output for output in mark["outputs"] if not output["about"]]
    path.write_text(json.dumps(mark))
    export(run_of(copied, "index"), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The tracks of fma_tiny.zip are not listed: run the study again in its home" in card
    assert not (tmp_path / "out" / "ATTRIBUTION.csv").exists()


def test_a_folder_that_holds_something_is_left_alone(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        export(tuned, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_damaged_weights_do_not_leave(copied: Path, tmp_path: Path) -> None:
    run = run_of(copied, "songs", "activity")
    weights = run / "result" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        export(run, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_model_outside_of_any_home_is_exported_with_what_it_says_itself(
    tuned: Path, tmp_path: Path
) -> None:
    export(tuned, tmp_path / "first")
    export(tmp_path / "first", tmp_path / "second")
    assert not (tmp_path / "second" / "lineage.json").exists()
    for name in ("ATTRIBUTION.csv", "model.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert "of fma_tiny.zip, by licence" in (tmp_path / "second" / "README.md").read_text()
    for folder in ("first", "second"):
        assert hash_file(tmp_path / folder / "model.safetensors") == hash_file(
            tuned / "result" / "model" / "model.safetensors"
        )


def test_what_is_no_run_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no trained model"):
        export(finished, tmp_path / "out")
