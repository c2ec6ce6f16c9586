from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from storage.audio import write_audio
from storage.errors import ConfigError, DataError, DecodeError
from training.config import BsLocoformerConfig, SeparateConfig, TrainConfig
from training.models import build
from training.separate import chunk_spans, separate
from training.songs import Song, read_song, separate_song, separate_songs
from training.weights import save_model

CONFIG = BsLocoformerConfig(outputs=4, sample_rate=100)


class Sharing(torch.nn.Module):
    """Every output is an equal share of the input; lengths that it was given are noted."""

    def __init__(self, config: BsLocoformerConfig = CONFIG) -> None:
        super().__init__()
        self.config = config
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x_BICT: Tensor) -> Tensor:
        self.seen.append(tuple(x_BICT.shape))
        return x_BICT.expand(-1, self.config.outputs, -1, -1) / self.config.outputs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.sampled_from([0.05, 1.0, 1.2]), st.integers(1, 5), st.integers(0, 9))
def test_equal_masks_give_the_song_back_exactly(
    length: int, chunk: float, batch: int, seed: int
) -> None:
    song = torch.randn(2, length, generator=torch.Generator().manual_seed(seed))
    song[0] *= 1e-3
    config = SeparateConfig(chunk_seconds=chunk, hop_seconds=chunk / 2, batch_size=batch)
    stems = separate(Sharing(), song, config)  # type: ignore[arg-type]
    assert stems.shape == (4, 2, length)
    if chunk > 0.05:
        assert torch.equal(stems.sum(0), song)
    # A hop that is not half a chunk averages three values in places, which rounds.
    assert torch.allclose(stems.sum(0), song, rtol=1e-5)


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 60))
def test_chunks_cover_everything_and_never_leave_the_song(
    length: int, chunk: int, hop: int
) -> None:
    chunk = min(chunk, length)
    hop = min(hop, chunk)
    spans = chunk_spans(length, chunk, hop)
    covered = np.zeros(length, int)
    for start, used in spans:
        assert 0 <= start <= used < start + chunk <= length
        covered[used : start + chunk] += 1
    assert covered.min() >= 1
    assert covered.max() <= -(-chunk // hop)
    assert [used for _, used in spans] == list(range(0, hop * len(spans), hop))


def test_every_chunk_is_whole_and_batches_are_full() -> None:
    model, told = Sharing(), []
    config = SeparateConfig(chunk_seconds=1, hop_seconds=0.5, batch_size=3)
    separate(model, torch.randn(2, 430), config, lambda *x: told.append(x))  # type: ignore[arg-type]
    assert [shape[0] for shape in model.seen] == [3, 3, 2]
    assert {shape[1:] for shape in model.seen} == {(1, 2, 100)}
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_silent_chunks_are_not_separated() -> None:
    model = Sharing()
    song = torch.zeros(2, 1000)
    song[:, :100] = 0.5
    song[:, 600] = 1e-6
    stems = separate(model, song, SeparateConfig(chunk_seconds=1, hop_seconds=0.5, batch_size=8))  # type: ignore[arg-type]
    assert sum(shape[0] for shape in model.seen) == 2
    assert torch.equal(stems.sum(0), song)
    silence = torch.zeros(2, 50)
    assert torch.equal(separate(Sharing(), silence, SeparateConfig()).sum(0), silence)  # type: ignore[arg-type]


def test_a_real_model_takes_any_length(mixit: TrainConfig) -> None:
    model = build(mixit.model).eval()
    config = SeparateConfig(chunk_seconds=0.5, hop_seconds=0.25)
    for length in (1, 100, 4001, 9000):
        stems = separate(model, 0.1 * torch.randn(2, length), config)
        assert stems.shape == (4, 2, length)
        assert stems.isfinite().all()


@pytest.mark.parametrize(("rate", "channels"), [(100, 1), (100, 2), (441, 1), (37, 2)])
def test_songs_keep_their_rate_channels_and_length(rate: int, channels: int) -> None:
    time = np.arange(5 * rate) / rate
    wave = np.stack([0.5 * np.sin(2 * np.pi * 3 * time)] * channels).astype(np.float32)
    stems = separate_song(Sharing(), Song(wave, rate), SeparateConfig())  # type: ignore[arg-type]
    assert stems.shape == (4, channels, len(time))
    middle = slice(rate, 4 * rate)
    assert np.allclose(stems.sum(0)[:, middle], wave[:, middle], atol=2e-2)


def test_songs_that_cannot_be_separated() -> None:
    for shape, said in (((2, 0), "no samples"), ((6, 50), "has 6 channels.*separates 2")):
        with pytest.raises(DataError, match=said):
            separate_song(Sharing(), Song(np.zeros(shape, np.float32), 100), SeparateConfig())  # type: ignore[arg-type]
    with pytest.raises(DecodeError, match=r"nowhere\.mp3 cannot be read"):
        read_song(Path("nowhere.mp3"))


def test_files_in_files_out(tmp_path: Path, mixit: TrainConfig) -> None:
    save_model(
        tmp_path / "model",
        build(mixit.model).state_dict(),
        {"model": mixit.model.model_dump(mode="json")},
    )
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 11_025)).astype(np.float32)
    write_audio(tmp_path / "a song.flac", noise, 11_025, "PCM_16")
    out = tmp_path / "out"
    separate_songs(tmp_path / "model", [tmp_path / "a song.flac"], out, SeparateConfig())
    files = sorted(path.name for path in (out / "a song").iterdir())
    assert files == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    info = soundfile.info(str(out / "a song" / "bass.wav"))
    assert (info.samplerate, info.channels, info.frames) == (11_025, 1, 11_025)
    assert info.subtype == "FLOAT"
    with pytest.raises(ConfigError, match="would both be written to 'x'"):
        separate_songs(tmp_path, [Path("a/x.mp3"), Path("b/x.wav")], out, SeparateConfig())
