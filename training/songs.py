"""The verb `separate`: songs in any format in, a folder of stems per song out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch

from storage.audio import Waveform, write_audio
from storage.decode import decode
from storage.errors import ConfigError, DataError, DecodeError
from storage.files import disk_errors
from training.config import STEMS, RuntimeConfig, SeparateConfig
from training.distributed import join
from training.models.separator import Separator
from training.separate import separate
from training.weights import load_model

LONGEST_SECONDS = 4 * 3600.0
"""Of a song: four hours of stereo and its stems are some 25 GB in memory."""

logger = logging.getLogger(__name__)


class Song(NamedTuple):
    """A decoded song as it came."""

    waveform: Waveform
    """[channels, frames]."""
    sample_rate: int


def separate_songs(
    model_folder: Path, songs: Sequence[Path], destination: Path, config: SeparateConfig
) -> None:
    """Write <destination>/<song's stem>/<stem>.wav (32-bit float) for every song.

    Stems have the song's own sample rate, channels and length, whatever the model works at.

    Raises:
        CheckpointError: the folder holds no readable model.
        ConfigError: two songs would be written to one folder.
        DecodeError: a song cannot be decoded; the songs before it are done.
    """
    _require_distinct(songs)
    with join(RuntimeConfig()) as place:
        model = load_model(model_folder).to(place.device)
        for number, path in enumerate(songs, 1):
            song = read_song(path)
            stems = separate_song(model, song, config)
            names = STEMS if len(stems) == len(STEMS) else _numbered(len(stems))
            for name, stem in zip(names, stems, strict=True):
                _write(destination / path.stem / f"{name}.wav", stem, song.sample_rate)
            logger.info("song %d/%d %s", number, len(songs), path.name)


def read_song(path: Path) -> Song:
    """Decode a whole file, whatever its format.

    Raises:
        DecodeError: the file is missing, unreadable or no audio.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(
            f"song {path} cannot be read ({error.strerror}); check the path"
        ) from error
    decoded = decode(data, str(path), LONGEST_SECONDS)
    return Song(decoded.waveform, decoded.sample_rate)


def separate_song(model: Separator, song: Song, config: SeparateConfig) -> Waveform:
    """Return [S, channels, frames] at the song's own rate, channels and length.

    Raises:
        DataError: the song is empty, or has more than two channels.
    """
    channels, frames = song.waveform.shape
    wanted = model.config.audio_channels
    if not frames:
        raise DataError("the song has no samples; there is nothing to separate")
    if channels not in (1, wanted):
        raise DataError(
            f"the song has {channels} channels and the model separates {wanted}; mix it down first"
        )
    model_rate = model.config.sample_rate
    mixture = _resample(song.waveform, song.sample_rate, model_rate)
    if channels != wanted:
        mixture = np.repeat(mixture, wanted, axis=0)
    stems = separate(model, torch.from_numpy(np.ascontiguousarray(mixture)), config).numpy()
    if channels != wanted:
        stems = stems.mean(axis=1, keepdims=True)
    back = [_resample(stem, model_rate, song.sample_rate) for stem in stems]
    return np.stack([_fit(stem, frames) for stem in back])


def _resample(waveform: Waveform, rate: int, wanted: int) -> Waveform:
    if rate == wanted:
        return waveform
    resampled = soxr.resample(waveform.T, rate, wanted, quality="HQ").T.astype(np.float32)
    # A song of a sample or two may resample to none.
    return np.pad(resampled, ((0, 0), (0, max(0, 1 - resampled.shape[1]))))


def _fit(waveform: Waveform, frames: int) -> Waveform:
    """Cut or pad the sample or two by which resampling there and back misses the length."""
    cut = waveform[:, :frames]
    return np.pad(cut, ((0, 0), (0, frames - cut.shape[1])))


def _write(path: Path, waveform: Waveform, sample_rate: int) -> None:
    with disk_errors(path):
        arriving = path.with_name(f".{path.stem}.arriving.wav")
        write_audio(arriving, waveform, sample_rate)
        arriving.replace(path)


def _numbered(outputs: int) -> tuple[str, ...]:
    return tuple(f"output-{number:02d}" for number in range(outputs))


def _require_distinct(songs: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in songs:
        if path.stem in seen:
            raise ConfigError(
                f"{seen[path.stem]} and {path} would both be written to '{path.stem}'; separate "
                "them into two destinations"
            )
        seen[path.stem] = path
