"""Files in, files out: whatever the format, rate, channels and length."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
import torch
from matplotlib.image import imread

from storage.audio.waveforms import Waveform, read_window
from storage.errors import CheckpointError, ConfigError, DataError, DecodeError, MachineError
from storage.records import STEMS
from tests.synthesised import write_audio
from tests.training.inference.test_overlap_add import Sharing
from training.checkpoints.weights import save_model
from training.config import DeliveryConfig, SeparateConfig, TrainConfig
from training.inference.song_files import (
    Shape,
    StagingFile,
    read_song,
    resample,
    resampled,
    stem_files,
)
from training.inference.spectrograms import COLUMNS, band_powers, draw_spectrograms
from training.jobs.separate_songs import SongOptions, separate_file, separate_songs, separated_song
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.separator import build

CONFIG = SeparateConfig(chunk_seconds=1, hop_seconds=0.5)
MODEL_RATE = 100


def noise(channels: int, frames: int, seed: int = 0) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, (channels, frames)).astype(np.float32)


def staged(waveform: Waveform, rate: int, folder: Path) -> StagingFile:
    staging = StagingFile(folder, rate, len(waveform))
    for block in np.array_split(waveform, 3, axis=1):
        staging.take(block)
    return staging


@pytest.fixture
def model(tmp_path: Path, mixit: TrainConfig) -> Path:
    weights = build(mixit.model).state_dict()
    explanation = {"model": mixit.model.model_dump(mode="json"), "stems": list(STEMS)}
    save_model(tmp_path / "model", weights, explanation)
    return tmp_path / "model"


def whole(song: StagingFile, scratch: Path, config: SeparateConfig = CONFIG) -> Waveform:
    pieces = list(separated_song(Sharing(), song, scratch, config))
    return np.concatenate(pieces, axis=-1)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_at_the_models_rate_equal_masks_give_every_channel_back(
    channels: int, tmp_path: Path
) -> None:
    wave = noise(channels, 730)
    stems = whole(staged(wave, MODEL_RATE, tmp_path), tmp_path)
    assert stems.shape == (4, channels, 730)
    assert np.array_equal(stems.sum(0), wave)


@pytest.mark.parametrize(("rate", "channels"), [(441, 1), (37, 2), (441, 5), (8000, 2), (11, 1)])
@pytest.mark.parametrize("seconds", [0.1, 5.0])
def test_songs_keep_their_rate_channels_and_length(
    rate: int, channels: int, seconds: float, tmp_path: Path
) -> None:
    frames = max(1, round(seconds * rate))
    time = np.arange(frames) / rate
    wave = np.stack([0.5 * np.sin(2 * np.pi * 3 * time)] * channels).astype(np.float32)
    stems = whole(staged(wave, rate, tmp_path), tmp_path)
    assert stems.shape == (4, channels, frames)
    middle = slice(rate, 4 * rate)
    assert np.allclose(stems.sum(0)[:, middle], wave[:, middle], atol=2e-2)


@pytest.mark.parametrize("rate", [MODEL_RATE, 8000])
def test_stems_add_up_to_the_song_as_it_came(rate: int, tmp_path: Path) -> None:
    wave = noise(3, 5 * rate + 3)
    song = staged(wave, rate, tmp_path)
    stems = whole(song, tmp_path, CONFIG.override(["sum_to_mixture=true"]))
    assert np.allclose(stems.sum(0, dtype=np.float64), wave, atol=1e-7)
    if rate != MODEL_RATE:
        assert not np.allclose(whole(song, tmp_path).sum(0), wave, atol=1e-2)


@pytest.mark.parametrize("rates", [(44_100, 48_000), (8000, 44_100), (96_000, 44_100)])
def test_resampling_in_pieces_is_resampling_at_once(rates: tuple[int, int], tmp_path: Path) -> None:
    rate, wanted = rates
    wave = noise(2, 300_000)

    def blocks() -> Iterator[Waveform]:
        yield from np.array_split(wave, [1, 700, 131_072], axis=1)

    pieces = np.concatenate(list(resample(blocks(), rate, wanted)), axis=1)
    at_once = soxr.resample(wave.T, rate, wanted, quality="HQ").T
    assert abs(pieces.shape[1] - at_once.shape[1]) <= 1
    common = min(pieces.shape[1], at_once.shape[1])
    assert np.allclose(pieces[:, :common], at_once[:, :common], atol=1e-6)
    staging = resampled(staged(wave[:, :1], rate, tmp_path), wanted, tmp_path)
    assert staging.frames >= 1


def encoded(path: Path, codec: str, rate: int, layout: str, form: str = "fltp") -> None:
    """Write 1.5 s of noise with FFmpeg."""
    channels = 1 if layout == "mono" else 2
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout, format=form)
        frame = av.AudioFrame.from_ndarray(noise(channels, rate * 3 // 2), "fltp", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("song.m4a", "aac", 44_100, "stereo"),
        ("song.mp3", "libmp3lame", 48_000, "mono"),
        ("song.opus", "libopus", 48_000, "stereo"),
        ("song.mka", "flac", 16_000, "stereo"),
    ],
)
def test_any_format_is_read(
    name: str, codec: str, rate: int, layout: str, model: Path, tmp_path: Path
) -> None:
    encoded(
        tmp_path / name, codec, rate, layout, "fltp" if codec in ("aac", "libmp3lame") else "s16"
    )
    separate_songs(model, [tmp_path / name], tmp_path / "out", CONFIG)
    info = soundfile.info(str(tmp_path / "out" / "song" / "bass.wav"))
    assert (info.samplerate, info.channels) == (rate, 1 if layout == "mono" else 2)
    # What a codec pads it may keep.
    assert abs(info.frames - 1.5 * rate) < 0.15 * rate


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
def test_soundfiles_own_formats_are_read(suffix: str, model: Path, tmp_path: Path) -> None:
    path = tmp_path / f"song.{suffix}"
    soundfile.write(str(path), noise(1, 1102).T, 11_025)
    separate_songs(model, [path], tmp_path / "out", CONFIG)
    stem = read_window(tmp_path / "out" / "song" / "vocals.wav")
    assert stem.shape == (1, 1102)
    assert np.isfinite(stem).all()


@pytest.mark.parametrize(
    ("form", "file", "kind"),
    [
        ("wav", "bass.wav", ("WAV", "FLOAT")),
        ("wav24", "bass.wav", ("WAV", "PCM_24")),
        ("flac", "bass.flac", ("FLAC", "PCM_24")),
    ],
)
def test_what_is_written(
    form: str, file: str, kind: tuple[str, str], model: Path, tmp_path: Path
) -> None:
    song = tmp_path / "a song.flac"
    write_audio(song, noise(1, 11_025), 11_025, "PCM_16")
    out, delivery = tmp_path / "out", DeliveryConfig.model_validate({"format": form})
    separate_songs(model, [song], out, CONFIG, delivery)
    names = sorted(path.stem for path in (out / "a song").iterdir())
    assert names == ["bass", "drums", "other", "vocals"]
    assert {path.name for path in out.iterdir()} == {"a song"}
    info = soundfile.info(str(out / "a song" / file))
    assert (info.samplerate, info.channels, info.frames) == (11_025, 1, 11_025)
    assert (info.format, info.subtype) == kind


def test_the_time_of_day_is_not_in_the_bytes(tmp_path: Path) -> None:
    shape = Shape(8000, 2, 500, "wav")
    with stem_files(tmp_path, ["a"], shape) as files:
        files.write(noise(2, 500)[None])
    data = (tmp_path / "a.wav").read_bytes()
    place = data.index(b"PEAK")
    assert data[place + 12 : place + 16] == bytes(4)
    assert np.array_equal(read_window(tmp_path / "a.wav"), noise(2, 500))


def test_a_wav_beyond_its_32_bit_sizes_is_rf64(tmp_path: Path) -> None:
    # Named for its length; so many frames are not written here.
    shape = Shape(96_000, 2, 3 * 3600 * 96_000, "wav")
    with stem_files(tmp_path, ["a"], shape) as files:
        files.write(noise(2, 500)[None])
    assert soundfile.info(str(tmp_path / "a.wav")).format == "RF64"
    assert np.array_equal(read_window(tmp_path / "a.wav"), noise(2, 500))


def test_clipping_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loud = np.full((1, 1, 100), 1.5, np.float32)
    for form, told in (("wav", 0), ("wav24", 1), ("flac", 1)):
        caplog.clear()
        shape = Shape(8000, 1, 100, form)  # type: ignore[arg-type]
        with stem_files(tmp_path / form, ["a"], shape) as files:
            files.write(loud)
        assert len(caplog.records) == told
    assert "peaks at 1.50" in caplog.text
    assert read_window(tmp_path / "flac" / "a.flac").max() <= 1
    assert read_window(tmp_path / "wav" / "a.wav").max() == 1.5


def test_songs_that_cannot_be_separated(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DecodeError, match=r"nowhere\.mp3 cannot be read"):
        read_song(Path("nowhere.mp3"), tmp_path)
    good, text, empty = tmp_path / "good.wav", tmp_path / "text.mp3", tmp_path / "empty.wav"
    nan = tmp_path / "nan.wav"
    write_audio(good, noise(2, 900), 8000)
    write_audio(empty, noise(2, 0), 8000)
    write_audio(nan, np.full((1, 900), np.nan, np.float32), 8000)
    text.write_text("la la la")
    out = tmp_path / "out"
    said = {text: "is no audio", empty: "holds no frame", nan: "are no numbers"}
    for path, words in said.items():
        with pytest.raises(DecodeError, match=words):
            separate_songs(model, [path], out, CONFIG)
    with pytest.raises(DataError, match=r"3 of 4 songs .*text\.mp3 .*is no audio"):
        separate_songs(model, [text, good, empty, nan], out, CONFIG)
    # The good one is done though those around it are not, and they leave nothing.
    assert [path.name for path in out.iterdir()] == ["good"]
    assert len(list((out / "good").iterdir())) == 4
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 3
    with pytest.raises(ConfigError, match="would both be written to 'x'"):
        separate_songs(tmp_path, [Path("a/x.mp3"), Path("b/x.wav")], out, CONFIG)


def test_formats_that_cannot_hold_a_song(model: Path, tmp_path: Path) -> None:
    song = tmp_path / "many.wav"
    write_audio(song, noise(9, 900), 8000)
    delivery = DeliveryConfig(format="flac")
    with pytest.raises(ConfigError, match="flac cannot hold 9 channels at 8000 Hz"):
        separate_songs(model, [song], tmp_path / "out", CONFIG, delivery)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="part of the path is a file"):
        separate_songs(model, [song], tmp_path / "file" / "out", CONFIG)


def test_weights_that_are_no_numbers(model: Path, tmp_path: Path, mixit: TrainConfig) -> None:
    weights = build(mixit.model).state_dict()
    next(iter(weights.values()))[0] = torch.nan
    save_model(model, weights, {"model": mixit.model.model_dump(mode="json")})
    with pytest.raises(CheckpointError, match="NaN"):
        separate_songs(model, [tmp_path / "song.wav"], tmp_path / "out", CONFIG)


def test_a_model_of_other_outputs_numbers_them(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    write_audio(song, noise(2, 300), MODEL_RATE)
    two: Any = Sharing(BsLocoformerConfig(outputs=2, sample_rate=MODEL_RATE))
    told: list[tuple[int, int]] = []
    out, options = tmp_path / "out" / "song", SongOptions(CONFIG)
    separate_file(two, song, out, options, lambda *x: told.append(x))
    assert sorted(path.name for path in out.iterdir()) == ["output-00.wav", "output-01.wav"]
    assert told == [(4, 5), (5, 5)]


def test_pictures_show_where_a_tone_is(model: Path, tmp_path: Path) -> None:
    time = np.arange(3 * 8000) / 8000
    tone = np.stack([np.sin(2 * np.pi * 1000 * time)] * 2).astype(np.float32)
    tone[1] *= -1
    tone[:, : len(time) // 2] = 0
    write_audio(tmp_path / "tone.wav", tone, 8000)
    power = band_powers(tmp_path / "tone.wav")
    assert power.shape[1] <= COLUMNS
    loudest = np.geomspace(30, 4000, len(power))[power[:, -3].argmax()]
    assert loudest == pytest.approx(1000, rel=0.02)
    assert power[:, 0].max() < 1e-6 * power[:, -3].max()
    pictures = draw_spectrograms({"tone": tmp_path / "tone.wav"})
    assert imread(pictures[0]).shape[:2] == (400, 1000)
    first = pictures[0].read_bytes()
    assert draw_spectrograms({"tone": tmp_path / "tone.wav"})[0].read_bytes() == first
    separate_songs(
        model, [tmp_path / "tone.wav"], tmp_path / "out", CONFIG, DeliveryConfig(pictures=True)
    )
    files = [path.name for path in (tmp_path / "out" / "tone").iterdir()]
    assert sum(name.endswith(".png") for name in files) == 4


def test_a_picture_of_a_moment_and_of_silence(tmp_path: Path) -> None:
    write_audio(tmp_path / "moment.wav", noise(1, 1), 8000)
    write_audio(tmp_path / "silence.wav", np.zeros((2, 9000), np.float32), 8000)
    drawn = draw_spectrograms({name: tmp_path / f"{name}.wav" for name in ("moment", "silence")})
    assert all(path.is_file() for path in drawn)
