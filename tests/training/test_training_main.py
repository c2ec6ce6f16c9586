import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storage.audio.waveforms import read_window
from storage.files import only_one
from storage.home.runs import Run
from storage.records import STEMS
from tests.synthesised import write_audio
from training.__main__ import main
from training.checkpoints.weights import save_model
from training.config import EvaluateConfig, SelectConfig, SeparateConfig, TrainConfig
from training.models.separator import build


def said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_errors_are_one_line_and_an_exit_code(
    tmp_path: Path,
    make_run: Callable[..., Run],
    mixit: TrainConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", str(tmp_path / "nowhere")]) == 4
    assert "is no run directory" in said(capsys)
    run = make_run("run", "train", mixit)
    assert main(["evaluate", str(run.root)]) == 4
    assert "asks for `train`, not `evaluate`" in said(capsys)
    with only_one(run.lock, "it"):
        assert main(["train", str(run.root)]) == 4
        assert "being done by another process" in said(capsys)
    bad = make_run("bad", "train", mixit.override(["data.segment_seconds=60"]))
    assert main(["train", str(bad.root)]) == 2
    assert "set data.segment_seconds to 1 or less" in said(capsys)
    assert main(["separate", str(tmp_path), str(tmp_path / "out"), "song.mp3"]) == 4
    assert "holds no model" in said(capsys)


def test_a_bad_run_directory_shows_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", "train", str(tmp_path)],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path} is no run directory")
    assert done.stderr.count("\n") == 1


def test_the_whole_line_of_verbs(
    tmp_path: Path,
    make_run: Callable[..., Run],
    mixit: TrainConfig,
    supervised: TrainConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretrain = make_run("pretrain", "train", mixit.override(["model.outputs=5"]))
    assert main(["train", str(pretrain.root)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("step 2/6 loss ") for line in lines)
    chosen = make_run("select", "select", SelectConfig(chunk_seconds=0.5), model=pretrain.model)
    assert main(["select", str(chosen.root)]) == 0
    assert "chunk 4/4" in capsys.readouterr().err.splitlines()
    tuned = make_run("tune", "train", supervised, model=pretrain.model, channels=chosen.channels)
    assert main(["train", str(tuned.root)]) == 0
    config = EvaluateConfig(separate=SeparateConfig(chunk_seconds=1, hop_seconds=0.5))
    judged = make_run("evaluate", "evaluate", config, model=tuned.model)
    capsys.readouterr()
    assert main(["evaluate", str(judged.root)]) == 0
    assert capsys.readouterr().err.startswith("song 1/2 test1 bass ")
    song = tmp_path / "song.wav"
    write_audio(song, np.full((2, 4000), 0.1, np.float32), 8000)
    assert main(["separate", str(tuned.model), str(tmp_path / "out"), str(song)]) == 0
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file()


def test_the_options_of_separate(
    tmp_path: Path, mixit: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = build(mixit.model).state_dict()
    explanation = {"model": mixit.model.model_dump(mode="json"), "stems": list(STEMS)}
    save_model(tmp_path / "model", weights, explanation)
    song = tmp_path / "song.wav"
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    write_audio(song, wave, 8000)
    options = ["--format=wav24", "--shifts=2", "--swap-channels", "--sum-to-mixture", "--pictures"]
    paths = [str(tmp_path / "model"), str(tmp_path / "out"), str(song)]
    assert main(["separate", *options, "--", *paths]) == 0
    files = sorted(path.name for path in (tmp_path / "out" / "song").iterdir())
    assert files == sorted(f"{stem}.{kind}" for stem in STEMS for kind in ("png", "wav"))
    stems = [read_window(tmp_path / "out" / "song" / f"{stem}.wav") for stem in STEMS]
    # Four roundings to 24 bits.
    assert np.allclose(sum(stems), wave, atol=4 * 2.0**-23)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["separate", "--shifts=0", "--", *paths])
    assert "0 is less than one" in capsys.readouterr().err
