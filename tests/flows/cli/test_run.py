"""`stemworks separate`, as a person types it: songs in, folders of stems out."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from storage.records import STEMS
from tests import synthesised
from training.checkpoints.weights import save_model
from training.models.bs_locoformer.config import MICRO
from training.models.separator import build

pytestmark = pytest.mark.slow


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A run's directory with a model of a fraction of the smallest size in its result."""
    torch.manual_seed(0)
    config = MICRO.model_copy(update={"outputs": len(STEMS)})
    explanation = {"model": config.model_dump(mode="json"), "stems": list(STEMS)}
    save_model(tmp_path / "run" / "result" / "model", build(config).state_dict(), explanation)
    return tmp_path / "run"


def write_m4a(path: Path, sound: synthesised.Sound, rate: int) -> None:
    """Write AAC, which soundfile does not know: only FFmpeg's libraries, by PyAV, read it."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=rate, layout="stereo", format="fltp")
        frame = av.AudioFrame.from_ndarray(sound, "fltp", "stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        fifo, size = av.AudioFifo(), stream.codec_context.frame_size or 1024
        fifo.write(frame)
        while (part := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


SONGS = {
    "high rate.flac": (96_000, 2, 1.5),
    "mono.wav": (22_050, 1, 1.0),
    "blink.wav": (44_100, 2, 0.1),
    "popular.mp3": (48_000, 2, 1.2),
    "other.m4a": (44_100, 2, 1.3),
}
"""Rates, channels and seconds."""


def write_songs(folder: Path) -> list[str]:
    """Write the songs, each in its own form; return their paths."""
    for name, (rate, channels, seconds) in SONGS.items():
        sound = synthesised.tune(seconds, 440.0, rate, channels)
        if name.endswith("m4a"):
            write_m4a(folder / name, sound, rate)
        elif name.endswith("mp3"):
            (folder / name).write_bytes(synthesised.as_file(sound, rate))
        else:
            soundfile.write(folder / name, sound.T, rate, "PCM_24")
    return [str(folder / name) for name in SONGS]


def read_stems(folder: Path, name: str) -> list[Any]:
    """Return a song's stems, having seen that each is as long, wide and fast as the song."""
    rate, channels, seconds = SONGS[name]
    kinds = {path.name for path in folder.iterdir()}
    assert kinds == {f"{stem}.{kind}" for stem in STEMS for kind in ("wav", "png")}
    stems = []
    for stem in STEMS:
        sound, own = soundfile.read(folder / f"{stem}.wav", dtype="float64", always_2d=True)
        assert own == rate
        assert sound.shape[1] == channels
        # What a lossy codec pads it may keep.
        slack = 0.1 * rate if Path(name).suffix in (".mp3", ".m4a") else 0
        assert abs(len(sound) - round(seconds * rate)) <= slack
        stems.append(sound)
    return stems


def test_any_song_in_and_its_stems_out(checkpoint: Path, tmp_path: Path) -> None:
    """Several rates, mono and stereo, a tenth of a second, MP3 and AAC, all in one command."""
    songs, out = write_songs(tmp_path), tmp_path / "stems"
    command = ["separate", "--sum-to-mixture", "--pictures", str(checkpoint), *songs, str(out)]
    answer = subprocess.run(
        [sys.executable, "-m", "flows", *command], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for number, name in enumerate(SONGS, 1):
        assert f"song {number}/{len(SONGS)} {name}" in answer.stderr
        stems = read_stems(out / Path(name).stem, name)
        assert np.isfinite(stems).all()
        assert not np.allclose(stems[0], stems[1]), "a separator, and not a quarter each"
        if Path(name).suffix in (".wav", ".flac"):
            song, _ = soundfile.read(tmp_path / name, dtype="float64", always_2d=True)
            assert np.allclose(sum(stems), song, atol=1e-6)
    assert sorted(path.name for path in out.iterdir()) == sorted(Path(n).stem for n in SONGS)
