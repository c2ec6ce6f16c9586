from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from storage.audio.waveforms import probe, read_window
from storage.home.runs import Run
from storage.records import STEMS
from tests.training.conftest import MIXIT, RATE, maker_of_runs
from tests.training.jobs.test_train import MakeRun, outputs, rows
from training.config import TrainConfig
from training.jobs.train import train


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, index: Path, songs: Path) -> Run:
    make = maker_of_runs(tmp_path_factory.mktemp("watched"), index, songs)
    run = make("watched", "train", MIXIT.override(["runtime.snapshot_every=4"]))
    train(run)
    return run


def folders(run: Run) -> list[Path]:
    return sorted((run.root / "snapshots").iterdir())


def test_one_example_is_heard_again_and_again(taken: Run) -> None:
    first, last = folders(taken)
    assert [first.name, last.name] == ["step-00000004", "step-00000006"]
    names = ["mixture", *(f"output-{number:02d}" for number in range(4))]
    assert sorted(path.name for path in first.iterdir()) == sorted(
        f"{name}.{suffix}" for name in names for suffix in ("flac", "png")
    )
    assert (first / "mixture.flac").read_bytes() == (last / "mixture.flac").read_bytes()
    assert (first / "output-00.flac").read_bytes() != (last / "output-00.flac").read_bytes()
    assert np.abs(read_window(first / "mixture.flac")).max() == pytest.approx(0.5, abs=1e-3)
    assert probe(first / "output-03.flac")[:3] == (RATE, 2, RATE // 2)
    pictures = {name: matplotlib.image.imread(first / f"{name}.png") for name in names}
    assert {picture.shape for picture in pictures.values()} == {(192, 1 + RATE // 2 // 512, 4)}
    assert pictures["mixture"][..., :3].max() > 0.9, "the loudest bin is bright"


def test_tensorboard_plays_and_shows_them(taken: Run) -> None:
    events = EventAccumulator(str(taken.tensorboard), size_guidance={"audio": 0, "images": 0})
    events.Reload()
    for tags in (events.Tags()["audio"], events.Tags()["images"]):
        assert set(tags) == {f"snapshot/{name}" for name in ("mixture", *OUTPUTS)}
    assert [sound.step for sound in events.Audio("snapshot/mixture")] == [4, 6]
    assert {f"train_energy_shares/{n:02d}" for n in range(4)} < set(events.Tags()["scalars"])


OUTPUTS = tuple(f"output-{number:02d}" for number in range(4))


def test_training_does_not_notice(taken: Run, make_run: MakeRun, mixit: TrainConfig) -> None:
    run = make_run("unwatched", "train", mixit)
    train(run)
    assert not (run.root / "snapshots").exists()
    assert rows(run) == rows(taken)
    assert outputs(run) == outputs(taken)


def test_stems_go_by_their_names(make_run: MakeRun, supervised: TrainConfig) -> None:
    run = make_run(
        "stems", "train", supervised.override(["loop.steps=1", "runtime.snapshot_every=100"])
    )
    train(run)
    (folder,) = folders(run)
    assert {path.stem for path in folder.iterdir()} == {"mixture", *STEMS}
