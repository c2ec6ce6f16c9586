"""The verb `separate`: songs in any format in, a folder of stems per song out.

Neither a song nor its stems are ever held whole: the song is spooled to a nameless file beside the
stems, which are written as they are finished.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from storage.audio.waveforms import Waveform
from storage.errors import ConfigError, DataError
from storage.files import disk_errors, require_space
from storage.names.file_names import file_names
from storage.names.spelling import printable
from training.checkpoints.weights import load_model
from training.config import DeliveryConfig, SeparateConfig
from training.distributed import join
from training.inference.overlap_add import Progress, Signal, add_up, separated
from training.inference.song_files import (
    Shape,
    StagingFile,
    read_song,
    resample,
    resampled,
    stem_files,
    stem_paths,
)
from training.inference.spectrograms import draw_spectrograms
from training.model_folder import stems_of
from training.models.separator import Separator
from training.settings.runtime import RuntimeConfig

logger = logging.getLogger(__name__)

Watch = Callable[[int, int, str], Progress]
"""Called with a song's number, the number of songs and its name; returns its chunks' callback."""


class SongOptions(NamedTuple):
    """How songs are separated, and as what they are written."""

    separate: SeparateConfig = SeparateConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    watch: Watch = lambda *_: lambda *_: None
    stems: tuple[str, ...] = ()
    """Names of the model's outputs; none numbers them."""


def separate_songs(
    model_folder: Path,
    songs: Sequence[Path],
    destination: Path,
    config: SeparateConfig | None = None,
    delivery: DeliveryConfig | None = None,
    watch: Watch | None = None,
) -> None:
    """Write <destination>/<song's name without its ending>/<stem>.wav for every song.

    Stems have the song's own sample rate, channels and length, whatever the model works at. A song
    that cannot be separated is reported and left out. An unsafe name is replaced and reported.

    Raises:
        CheckpointError: the folder holds no readable model.
        ConfigError: two songs would be written to one folder, or a format cannot hold a song.
        DataError: a song cannot be decoded, or is empty; raised when the others are done.
        MachineError: the disk is full, read-only or forbidden.
    """
    folders = _folders(songs)
    options = SongOptions(
        config or SeparateConfig(),
        delivery or DeliveryConfig(),
        watch or _unwatched,
        stems_of(model_folder),
    )
    failed: list[DataError] = []
    with join(RuntimeConfig()) as process:
        model = load_model(model_folder).to(process.device)
        for number, path in enumerate(songs, 1):
            name = printable(path.name)
            progress = options.watch(number, len(songs), name)
            try:
                separate_file(model, path, destination / folders[path.stem], options, progress)
            except DataError as error:
                failed.append(error)
                logger.log(logging.WARNING if len(songs) > 1 else logging.DEBUG, "%s", error)
                continue
            logger.info("song %d/%d %s", number, len(songs), name)
    _require_all(failed, len(songs), destination)


def separate_file(
    model: Separator,
    path: Path,
    folder: Path,
    options: SongOptions,
    progress: Progress | None = None,
) -> None:
    """Write the stems of one song to `folder`.

    Raises:
        DataError: the song cannot be decoded, or is empty.
    """
    with disk_errors(folder):
        song = read_song(path, folder.parent)
    names = options.stems or _numbered(model.config.outputs)
    shape = Shape(song.sample_rate, song.channels, song.frames, options.delivery.format)
    require_space(folder, (len(names) + 1) * shape.bytes, f"separating {printable(path.name)}")
    with stem_files(folder, names, shape) as files, disk_errors(folder):
        for piece in separated_song(model, song, folder.parent, options.separate, progress):
            files.write(piece)
    if options.delivery.pictures:
        draw_spectrograms(dict(zip(names, stem_paths(folder, names, shape), strict=True)))


def separated_song(
    model: Separator,
    song: StagingFile,
    scratch: Path,
    config: SeparateConfig,
    progress: Progress | None = None,
) -> Iterator[Waveform]:
    """Yield [S, channels, frames] at the song's own rate, channels and, in all, length.

    Channels are separated as many at a time as the model takes, in their order: a stereo model
    takes a surround recording pair by pair. Where too few are left (mono, for one), the last is
    given several times over, and the mean of its copies' outputs is its stem.
    """
    rate, own = model.config.sample_rate, song.sample_rate
    quiet = config.model_copy(update={"sum_to_mixture": False})
    pieces = _separated_channels(model, resampled(song, rate, scratch), quiet, progress)
    start = 0
    for piece in _resampled_stems(pieces, model.config.outputs, rate, own):
        fitting = piece[..., : song.frames - start]
        if fitting.shape[-1]:
            yield _finished(fitting, song, start, config)
        start += fitting.shape[-1]
    # Resampling there and back misses the length by a sample or two.
    if start < song.frames:
        missing = np.zeros((model.config.outputs, song.channels, song.frames - start), np.float32)
        yield _finished(missing, song, start, config)


def _finished(piece: Waveform, song: StagingFile, start: int, config: SeparateConfig) -> Waveform:
    """Let the stems add up to the song as it came, if so asked."""
    if not config.sum_to_mixture:
        return piece
    mixture = torch.tensor(song.read(start, piece.shape[-1]))
    return add_up(torch.tensor(piece), mixture).numpy()


def _separated_channels(
    model: Separator, song: StagingFile, config: SeparateConfig, progress: Progress | None
) -> Iterator[Waveform]:
    """Yield [S, channels, frames] at the model's rate, all groups of channels in step."""
    wanted = model.config.audio_channels
    groups = [
        list(range(first, min(first + wanted, song.channels)))
        for first in range(0, song.channels, wanted)
    ]
    callbacks = [progress if group is groups[-1] else None for group in groups]
    streams = [
        separated(model, _signal(song, group, wanted), config, callback)
        for group, callback in zip(groups, callbacks, strict=True)
    ]
    for pieces in zip(*streams, strict=True):
        kept = [
            _without_copies(piece, len(group)) for piece, group in zip(pieces, groups, strict=True)
        ]
        yield torch.cat(kept, dim=1).numpy()


def _signal(song: StagingFile, group: Sequence[int], wanted: int) -> Signal:
    """Return a group of a song's channels, the last repeated until there are `wanted`."""
    channels = [*group, *[group[-1]] * (wanted - len(group))]
    return Signal(
        lambda start, frames: torch.from_numpy(song.read(start, frames)[channels]),
        song.frames,
        torch.from_numpy(song.mean_square[channels]),
    )


def _without_copies(piece_SCT: Tensor, channels: int) -> Tensor:
    last_S1T = piece_SCT[:, channels - 1 :].mean(1, keepdim=True)
    return torch.cat([piece_SCT[:, : channels - 1], last_S1T], dim=1)


def _resampled_stems(
    pieces: Iterator[Waveform], stems: int, rate: int, wanted: int
) -> Iterator[Waveform]:
    """Resample [S, channels, frames] piece by piece, all stems and channels side by side."""
    if rate == wanted:
        yield from pieces
        return
    flat = (piece.reshape(-1, piece.shape[-1]) for piece in pieces)
    for block in resample(flat, rate, wanted):
        yield block.reshape(stems, len(block) // stems, block.shape[-1])


def _unwatched(_number: int, _songs: int, _name: str) -> Progress:
    return lambda _done, _chunks: None


def _numbered(outputs: int) -> tuple[str, ...]:
    return tuple(f"output-{number:02d}" for number in range(outputs))


def _require_all(failed: Sequence[DataError], songs: int, destination: Path) -> None:
    if failed and songs == 1:
        raise failed[0]
    if failed:
        raise DataError(
            f"{len(failed)} of {songs} songs could not be separated, the first because "
            f"{failed[0]}; the others are in {printable(destination)}"
        )


def _folders(songs: Sequence[Path]) -> dict[str, str]:
    """Return what the folder of each song is called, by the song's name without its ending."""
    seen: dict[str, Path] = {}
    for path in songs:
        if path.stem in seen:
            raise ConfigError(
                f"{printable(seen[path.stem])} and {printable(path)} would both be written to "
                f"'{printable(path.stem)}'; separate them into two destinations"
            )
        seen[path.stem] = path
    folders = file_names(seen)
    for title, folder in folders.items():
        if folder != title:
            logger.warning(
                "song %s is written to '%s': its own name is unsafe for a folder, or resembles "
                "another song's",
                *(printable(seen[title]), folder),
            )
    return folders
